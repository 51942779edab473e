// Writes fixtures.jsonl: the bodies that the codecs of socket.io's emitters write for JavaScript's values, and what clients receive.
//
//   node fixtures.mjs DIR    creates DIR, installs the codecs and emitters in it with npm, and writes the file beside this one
//
// A line is {codecs, what, body, text, attachments}: the body that the codecs write (hex), the JSON text that socket.io-parser
// makes of the value that the same codecs read back, and the text's binary values (hex). `raw` bodies are written by hand and read
// by notepack 3.0.1, which Node's adapters use. Long runs are abbreviated: a string may be a list of parts, in which
// ["61", 65536] means 61 repeated 65536 times.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { resolve } from 'node:path'

const dir = resolve(process.argv[2] ?? assert.fail('usage: node fixtures.mjs DIR'))
mkdirSync(dir, { recursive: true })
writeFileSync(`${dir}/package.json`, JSON.stringify({
  private: true,
  dependencies: {
    'msgpack-js': '0.3.0',
    'msgpack-lite': '0.1.26',
    notepack1: 'npm:notepack.io@1.0.1',
    notepack2: 'npm:notepack.io@2.1.3',
    notepack3: 'npm:notepack.io@3.0.1',
    emitter010: 'npm:socket.io-emitter@0.1.0',
    emitter020: 'npm:socket.io-emitter@0.2.0',
    emitter110: 'npm:socket.io-emitter@1.1.0',
    emitter200: 'npm:socket.io-emitter@2.0.0',
    emitter301: 'npm:socket.io-emitter@3.0.1',
    emitter320: 'npm:socket.io-emitter@3.2.0',
    emitter411: 'npm:@socket.io/redis-emitter@4.1.1',
    emitter510: 'npm:@socket.io/redis-emitter@5.1.0',
    'socket.io-parser': '4.2.4'
  },
  // An old socket.io-parser requests this package from GitHub.
  overrides: { emitter: 'npm:component-emitter@1.1.2' }
}))
execFileSync('npm', ['install', '--ignore-scripts', '--no-audit', '--no-fund'], { cwd: dir, stdio: 'inherit' })
const require = createRequire(`${dir}/package.json`)
const { deconstructPacket } = require(`${dir}/node_modules/socket.io-parser/build/cjs/binary.js`)

const codecs = {}
for (const name of ['msgpack-js', 'msgpack-lite', 'notepack1', 'notepack2', 'notepack3']) codecs[name] = require(name)
codecs.raw = codecs.notepack3

// === lines ===

const lines = new Map()
const bytes = binary => Buffer.from(binary.buffer ?? binary, binary.byteOffset ?? 0, binary.byteLength)
const hex = binary => bytes(binary).toString('hex')

// Abbreviates long runs of one or two units, of `size` characters each, to [run, times].
function shorten (text, size) {
  const parts = []
  let at = 0
  const push = part => part && parts.push(part)
  for (const run of text.matchAll(new RegExp(`(?:.{${size}})*?(((?:.{${size}}){1,2}?)\\2{99,})`, 'gsuy'))) {
    push(text.slice(at, run.index + run[0].length - run[1].length))
    parts.push([run[2], run[1].length / run[2].length])
    at = run.index + run[0].length
  }
  push(text.slice(at))
  return parts.length === 1 && typeof parts[0] === 'string' ? parts[0] : parts
}

function record (codec, what, body) {
  const { packet, buffers } = deconstructPacket({ data: codecs[codec].decode(body) })
  const text = JSON.stringify(packet.data) ?? 'null'
  const line = { what, body: shorten(hex(body), 2), text: shorten(text, 1), attachments: buffers.map(b => shorten(hex(b), 2)) }
  const key = JSON.stringify(line)
  lines.set(key, { codecs: [...lines.get(key)?.codecs ?? [], codec], ...line })
}

function encode (codec, what, value) {
  let body
  try {
    body = codecs[codec].encode(value)
  } catch (error) {
    return console.log(`${codec} does not encode ${what}: ${error.message}`)
  }
  record(codec, what, body)
}

// === values ===

const typed = (length, from = 1) => Uint8Array.from({ length }, (_, n) => (n * 37 + from) & 0xff)
const buffer = (length, from) => Buffer.from(typed(length, from))
const keys = count => Object.fromEntries(Array.from({ length: count }, (_, n) => [`k${n}`, n]))
const nest = (depth, value) => depth ? [nest(depth - 1, { in: value })] : value

const borders = [0, 1, 31, 32, 33, 127, 128, 255, 256, 257, 32767, 32768, 65535, 65536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32,
  2 ** 53 - 1, 2 ** 53, 2 ** 53 + 2, 2 ** 62, 2 ** 63, 1e15, 1e20, 1e21, 1e300]
const numbers = [...borders, ...borders.map(n => -n), -129, -32769, -(2 ** 31) - 1,
  0.1, 0.5, -1.5, 1e-5, 1e-6, 1e-7, 1.5e-7, 123456789.123, 1 / 3, 5e-324, Number.MAX_VALUE, 1234567890123456.7, NaN, Infinity, -Infinity]
const controls = Array.from({ length: 32 }, (_, n) => String.fromCharCode(n)).join('')
const texts = ['', 'a', '"', '\\', '/', controls, '\x7f\x80\xff', '\ufeff', '\u2028\u2029', 'é', '€', '😀', 'sixteen letters!"', 'fifteen letters\n',
  `${'x'.repeat(40)}"${'y'.repeat(40)}\\${'z'.repeat(5)}`, 'Grüße aus Zürich, 世界, ' + '😀'.repeat(9), '__proto__', '12']
const dates = [0, 1, -1, 999, 1000, -1000, 951782400000, 951868800000, 1709164800000, 1735689599999, 1700000000123, 2 ** 31 - 1, 2 ** 31, 2 ** 31 * 1000,
  2 ** 32 * 1000 - 1000, 2 ** 32 * 1000 - 1, 2 ** 32 * 1000, 2 ** 34 * 1000 - 1, 2 ** 34 * 1000, -62135596800000, -62167219200000, -62167219200001, 253402300799999,
  253402300800000, 8.64e15, -8.64e15, -2203891200000, -11644473600000, NaN]
const values = [
  ['undefined', undefined], ['null', null], ['true', true], ['false', false],
  ...numbers.map(n => [`the number ${Object.is(n, -0) ? '-0' : n}`, n]),
  ...texts.map(text => [`the text ${JSON.stringify(text)}`, text]),
  ...dates.map(ms => [`the date ${ms}`, new Date(ms)]),
  ...[0, 1, 2, 4, 7, 8, 14, 15, 16, 17, 31, 32, 255].map(n => [`a Buffer of ${n}`, buffer(n)]),
  ...[0, 1, 2, 3, 4, 8, 15, 16, 17, 255].map(n => [`an ArrayBuffer of ${n}`, typed(n).buffer]),
  ...[0, 1, 2, 4, 8, 16].map(n => [`a Uint8Array of ${n}`, typed(n)]),
  ...[Int8Array, Uint8ClampedArray, Int16Array, Uint16Array, Int32Array, Uint32Array, Float32Array, Float64Array].map(Type => [Type.name, Type.of(1, 2, 3)]),
  ['a DataView', new DataView(typed(5).buffer)],
  ['{}', {}], ['[]', []], ['15 keys', keys(15)], ['16 keys', keys(16)], ['15 elements', Array(15).fill(1)], ['16 elements', Array(16).fill('x')],
  ['undefined among elements', [undefined, 'a', undefined, undefined]],
  ['undefined among fields', { a: undefined, b: 1, c: undefined, d: undefined, e: { f: undefined } }],
  ['keys of all sorts', { '': 1, '"': 2, '\n': 3, é: 4, 7: 5, 'a longer key than fits into the shortest form': 6 }],
  ['dates inside', { at: new Date(1700000000123), list: [new Date(0), new Date(-1)] }],
  ['Buffers inside', { one: buffer(3), list: [buffer(20, 7), { two: buffer(0), three: [buffer(1)] }], end: 'x' }],
  ['a placeholder', { _placeholder: true, num: 0 }],
  ['nested', nest(20, { a: [1, { b: ['c', null, undefined, 1.5, new Date(1), buffer(2)] }] })]
]
const long = [
  ...[31, 32, 33, 254, 255, 256, 257, 65535, 65536].flatMap(n => [
    [`a text of ${n}`, 'a'.repeat(n)],
    [`a text of ${n} bytes, not ASCII`, 'é'.repeat(n >> 1) + 'a'.repeat(n & 1)],
    [`a text of ${n} with an end to escape`, 'b'.repeat(n - 1) + '"']
  ]),
  ...[254, 256, 257, 65535, 65536].flatMap(n => [[`a Buffer of ${n}`, Buffer.alloc(n, 0xab)], [`an ArrayBuffer of ${n}`, new Uint8Array(n).fill(0x61).buffer]]),
  ...[65535, 65536].map(n => [`${n} elements`, Array(n).fill(1)])
]
for (const codec of ['msgpack-js', 'msgpack-lite', 'notepack1', 'notepack2', 'notepack3']) {
  for (const [what, value] of values) {
    encode(codec, what, value)
    const data = ['event', value, [value, 'next', value], { a: 1, value, z: 2 }, value]
    encode(codec, `${what}, in a packet`, ['emitter', { type: 2, data, nsp: '/' }, { rooms: ['room'], flags: {} }])
  }
  for (const [what, value] of long) {
    encode(codec, what, value)
    encode(codec, `${what}, in a packet`, ['emitter', { type: 2, data: ['event', value], nsp: '/' }, { rooms: ['room'], flags: {} }])
  }
}

// === bodies of the emitters ===

const emitters = { 'socket.io-emitter 0.1.0': ['emitter010', 'msgpack-js'], 'socket.io-emitter 0.2.0': ['emitter020', 'msgpack-js'],
  'socket.io-emitter 1.1.0': ['emitter110', 'msgpack-js'], 'socket.io-emitter 2.0.0': ['emitter200', 'msgpack-lite'],
  'socket.io-emitter 3.0.1': ['emitter301', 'notepack1'], 'socket.io-emitter 3.2.0': ['emitter320', 'notepack2'],
  '@socket.io/redis-emitter 4.1.1': ['emitter411', 'notepack2'], '@socket.io/redis-emitter 5.1.0': ['emitter510', 'notepack3'] }
const args = [['message'], ['message', 'hello'], ['message', { text: 'Grüße', n: 1.5, none: null, list: [1, 2] }, 7], ['message', new Date(1700000000123)],
  ['message', undefined, { gone: undefined }], ['message', undefined, 2], ['message', 'x', undefined], ['message', buffer(10)], ['message', { deep: [buffer(15), buffer(300)] }, 'x'.repeat(300)]]
for (const [name, [id, codec]] of Object.entries(emitters)) {
  const { Emitter = require(id) } = require(id)
  const published = []
  const redis = { hset () {}, publish: (channel, body) => published.push([channel, body]) }
  const emitter = () => id.startsWith('emitter4') || id.startsWith('emitter5') ? new Emitter(redis) : Emitter(redis)
  for (const list of args) emitter().to('user(1)').emit(...list)
  emitter().emit('message', 'to all')
  emitter().to('user(1)').in('site(example.com)').volatile.emit('message', 'to two rooms')
  if (id !== 'emitter010') emitter().of('/chat').to('room').emit('message', 'in a namespace')
  if (emitter().except) emitter().to('user(1)').except('user(2)').emit('message', 'to all of a room but those of another')
  const bodies = new Map(published.map(([channel, body]) => [hex(body), [channel, body]]))
  for (const [channel, body] of bodies.values()) record(codec, `${name} to ${channel}`, body)
}

// === bodies written by hand ===

const raw = {
  'keys that are numbers, booleans and nil': '8b 01 a161 e0 a162 cd0400 a163 d3ffffffffffffffff a164 c3 a165 c2 a166 c0 a167 cb3fe0000000000000 a168 cb7ff8000000000000 a169 cbfff0000000000000 a16a cfffffffffffffffff a16b',
  'keys that are small and large numbers': '86 cb3eb0c6f7a0b5ed8d 01 cb3e7ad7f29abcaf48 02 cb444b1ae4d6e2ef50 03 cb7e37e43c8800759c 04 cb8000000000000000 05 cb3ff0000000000000 06',
  'a key that is a number, and a text of a form that msgpack-js has not': `81 05 d920 ${'61'.repeat(32)}`,
  'the same key twice': '82 a161 01 a161 02',
  'invalid UTF-8': '97 a1ff a2c328 a3e28228 a4f0288cbc a561c3e28262 a3eda080 a2f09f',
  'a float32': '95 ca3dcccccd ca00000000 ca80000000 ca7f7fffff ca7fc00000',
  'unsigned 64': '95 cfffffffffffffffff cf8000000000000000 cf0020000000000000 cf0020000000000001 cf0000000000000005',
  'signed 64': '95 d37fffffffffffffff d38000000000000000 d3ffdfffffffffffff d3fffffffffffffffb d30000000000000005',
  'wider than needed': '97 cc01 cd0001 ce00000001 d001 d10001 d200000001 d900',
  'long forms of short things': '96 dc000101 dd0000000101 de0001a16101 df0000000101 a162 da000161 db0000000161',
  'binary of every width': '93 c40161 c5000161 c60000000161',
  'undefined, whatever its byte': '93 d40000 d40001 d400ff',
  'undefined first, last and only': '94 81a161d40000 82a161d40000a16201 82a16101a162d40000 83a161d40000a162d40000a16303',
  'ext 0 of every width': '93 c70100aa c8000100aa c90000000100aa',
  'ext 0 of 8 bytes, marked as such': 'c708000102030405060708',
  'ext 0 of 2 and 4 bytes': '92 d500aabb d600aabbccdd',
  'unknown ext of every width': '99 d47faa d580aabb d670aabbccdd d77e0102030405060708 d87d000102030405060708090a0b0c0d0e0f c7037caabbcc c80000 10 c900000000 7b c70020',
  'timestamp 32': '93 d6ff00000000 d6ff655340ff d6ffffffffff',
  'timestamp 64': '94 d7ff0000000000000000 d7ff1d61d100655340ff d7ffee6b27fcffffffff d7ffffffffffffffffff',
  'timestamp 96': '97 c70cff000000000000000000000000 c70cff3b9ac9ffffffffffffffffff c70cff0000000100000000655340ff c70cff000000007fffffffffffffff c70cff00000000fffffff8277c2dc0 c70cff0000000000000007dba82200 c70cffffffffff0000000000000000',
  'dates of notepack 2': '95 d7000000000000000000 d700ffffffffffffffff d700001eb208c2dc0000 d700001eb208c2dc0001 d7007fffffffffffffff'
}
for (const [what, body] of Object.entries(raw)) record('raw', what, Buffer.from(body.replaceAll(' ', ''), 'hex'))

writeFileSync(new URL('fixtures.jsonl', import.meta.url), [...lines.values()].map(line => JSON.stringify(line) + '\n').join(''))
console.log(`${lines.size} lines`)
