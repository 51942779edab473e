// What nobody should publish on the cluster's channels does no harm, and Greyhound publishes nothing that would harm a Node.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { after, before, beforeEach, describe, test } from 'node:test'
import { until } from '../clients/greyhound.mjs'
import { login, next, push } from '../clients/sockets.mjs'
import { allHave } from './essentials.mjs'
import { assembled, greyhound, shared } from './greyhound.mjs'
import { redis } from './redis.mjs'
import { values } from './values.mjs'

const require = createRequire(import.meta.url)
const msgpack = require('notepack.io')
const json = value => Buffer.from(JSON.stringify(value))
const bytes = (...parts) => Buffer.concat(parts.map(part => Buffer.isBuffer(part) ? part : Buffer.from([part].flat())))
const nested = (open, depth) => Buffer.concat([...Array(depth).fill(Buffer.from(open)), Buffer.from([0xc0])])

const good = msgpack.encode(['abcdef', { type: 2, data: ['message', 'x', { a: [1, 'ž', null, 1.5] }], nsp: '/' }, { rooms: ['user(nobody)'], except: [], flags: {} }])
/** A message with something in the place of one of its parts. */
const message = (uid, packet, opts) => msgpack.encode([uid, packet, opts])
const packet = { type: 2, data: ['message', 'hostile'], nsp: '/' }
const opts = { rooms: ['user(nobody)'], except: [], flags: {} }
const strange = [null, true, 0, -1, 1e9, 1.5, NaN, '', 'text', [], [null], [[]], {}, { a: 1 }, Buffer.from([1, 2])]

/** Bodies by kind; none is for the bystander. */
const bodies = {
  'single bytes': Array.from({ length: 256 }, (_, n) => Buffer.from([n])),
  'nothing, and noise': [Buffer.alloc(0), ...Array.from({ length: 300 }, (_, n) => Buffer.from(Array.from({ length: n }, (_, i) => (i * 167 + n * 59) & 255)))],
  'messages that are cut off or go on': [...Array.from({ length: good.length }, (_, n) => good.subarray(0, n)), bytes(good, 0), bytes(good, good)],
  'messages with one byte changed': Array.from({ length: good.length * 4 }, (_, n) => {
    const broken = Buffer.from(good)
    broken[n >> 2] ^= [0x01, 0x80, 0xff, 0x40][n & 3]
    return broken
  }),
  'depths': [
    nested([0x91], 100_000), nested([0x81, 0xa1, 0x61], 100_000), bytes(0x93, 0xa1, 0x61, nested([0x91], 50_000), 0xc0),
    json('x'), Buffer.from('['.repeat(100_000)), Buffer.from('{"a":'.repeat(100_000)), Buffer.from(`{"type":6,"data":${'['.repeat(100_000)}${']'.repeat(100_000)}}`),
    message('abcdef', { type: 2, data: ['message', Array.from({ length: 2000 }).reduce(inner => [inner], 1)], nsp: '/' }, opts),
  ],
  'lengths': [0xdb, 0xc6, 0xdd, 0xdf, 0xc9].flatMap(type => [bytes(type, [255, 255, 255, 255]), bytes(type, [127, 255, 255, 255], 0xc0), bytes(0x93, type, [255, 255, 255, 255], 0xc0, 0xc0)]),
  'parts of the wrong kind': [
    ...strange.map(it => msgpack.encode(it)), ...strange.map(it => json(it ?? null)),
    ...strange.map(it => message(it, packet, opts)), ...strange.map(it => message('abcdef', it, opts)),
    ...strange.filter(it => it !== null).map(it => message('abcdef', { ...packet, nsp: '/elsewhere' }, it)),
    ...strange.map(it => message('abcdef', { ...packet, data: it }, opts)), ...strange.map(it => message('abcdef', { ...packet, data: [it, 1] }, opts)),
    ...strange.map(it => message('abcdef', { ...packet, type: it }, opts)),
    ...strange.filter(it => it !== null && it !== '').map(it => message('abcdef', { ...packet, nsp: it }, opts)),
    ...strange.map(it => message('abcdef', packet, { ...opts, except: it })), ...strange.map(it => message('abcdef', packet, { ...opts, flags: it })),
    message('abcdef', packet, { ...opts, rooms: Array.from({ length: 100_000 }, (_, n) => `room ${n}`) }),
    message('abcdef', { ...packet, data: ['x'.repeat(100_000)] }, opts),
    ...['connect', 'disconnect', 'error', 'newListener', '__proto__', 'constructor'].map(event => message('abcdef', { ...packet, data: [event, 1] }, opts)),
    bytes(0x93, 0xa3, [0xff, 0xfe, 0xfd], msgpack.encode(packet), msgpack.encode(opts)),
  ],
  'requests that are none': [
    ...Array.from({ length: 16 }, (_, type) => type - 2).flatMap(type => [
      // Whom it is for is missing: that is nobody, not everybody.
      { type }, { type, rooms: ['prison'] }, { type, uid: 'fedcba9876543210', nsp: '/', data: { rooms: ['prison'] } }, { type, requestId: 'x' }, { type, requestid: 'x' }, { type, requestId: null, uid: null, opts: null }, { type, requestId: 1, uid: [], opts: 7, rooms: 'x', data: {} },
      { type, requestId: {}, uid: 'emitter', opts: { rooms: 5, except: 'user(bystander)' }, rooms: [null, {}] }, { type, requestid: [], sid: {}, room: [] },
      { type, requestId: 'x'.repeat(100_000), uid: 'x'.repeat(100_000), opts: { rooms: [], except: ['user(bystander)'] }, rooms: [], data: [] },
    ].flatMap(request => [json(request), msgpack.encode(request)])),
    ...Array.from({ length: 12 }, (_, type) => json({ type, requestId: 'nobody', uid: 'abcdef', clientCount: -5, packet: 1, sockets: 'x', rooms: 3, data: null })),
    ...['{', '{}', '{"type":', '{"type":1e999}', '{"type":5,"type":6}', '{"\\ud800":1}', '{"type":2,"opts":{"rooms":["a"],"except":[]},"rooms":["\\ud800"]}'].map(text => Buffer.from(text)),
  ],
}

/** How the members of a cluster of either kind speak: the channels, a message, questions that may be many, and who published. */
const protocols = {
  classic: {
    channels: uid => ['socket.io#/#', 'socket.io#/#user(nobody)#', 'socket.io#/##', 'socket.io#/#a#b#', 'socket.io#emitter', 'socket.io#/chat#',
      'socket.io#/nowhere#', 'socket.io-request#/#', 'socket.io-response#/#', `socket.io-response#/#${uid}#`],
    publish: 'PUBLISH',
    message: (data, opts) => message('emitter', { ...packet, data }, opts),
    uidOf: bytes => msgpack.decode(bytes)[0],
    questions: [
      n => ['socket.io-request#/#', json({ uid: 'flood0', requestId: `r${n}`, type: 5, opts: { rooms: [], except: [] } })],
      n => ['socket.io-request#/#', json({ uid: 'flood0', requestId: `r${n}`, type: 1 })],
      n => ['socket.io-request#/chat#', json({ requestid: `r${n}`, type: 0, rooms: [] })],
      n => ['socket.io-request#/#', json({ uid: 'flood0', type: 2, opts: { rooms: ['user(nobody)'], except: [] }, rooms: [`a${n}`] })],
      n => ['socket.io-request#/#', json({ uid: 'flood0', requestId: `r${n}`, type: 6, data: ['ask', n] })],
      n => ['socket.io-request#/#', msgpack.encode({ uid: 'flood0', requestId: `r${n}`, type: 7, packet, opts: { ...opts, flags: { timeout: 60_000 } } })],
      n => ['socket.io-response#/#', json({ requestId: `r${n}`, sockets: [] })],
      n => ['socket.io#/#', message('flood0', { ...packet, data: ['message', n] }, opts)],
    ],
  },
  sharded: {
    channels: uid => ['socket.io#/#', 'socket.io#/#user(bystander)#', 'socket.io#/chat#', `socket.io#/#${uid}#`],
    publish: 'SPUBLISH',
    message: (data, opts) => json({ type: 3, uid: '0123456789abcdef', nsp: '/', data: { packet: { type: 2, data }, opts } }),
    uidOf: bytes => JSON.parse(bytes).uid,
    questions: [
      { type: 4, data: { opts, rooms: ['a'] } }, { type: 7, data: { opts: { ...opts, rooms: [] }, requestId: 'r' } }, { type: 9, data: { requestId: 'r', packet: ['ask', 1] } },
      { type: 3, data: { packet, requestId: 'r', opts: { ...opts, flags: { timeout: 60_000 } } } }, { type: 3, data: { packet, opts } },
      { type: 8, data: { requestId: 'r', sockets: [] } }, { type: 1 }, { type: 2 },
    ].map(question => n => ['socket.io#/#', json({ uid: `flood${n % 7}`, nsp: '/', ...question })]),
  },
}

for (const [mode, protocol] of Object.entries(protocols)) {
  describe(`what nobody should publish, mode = ${mode}`, () => {
    const all = shared()
    let server, hound, bystander, channels
    before(async () => {
      server = await redis(all)
      hound = await greyhound(all, server, { mode })
      await assembled(server, 1, { sharded: mode === 'sharded' })
      // Its name is in what it publishes.
      const seen = await server.record(...mode === 'sharded' ? ['socket.io#/#'] : [])
      await hound.emit({ rooms: ['user(nobody)', 'user(nobody else)'], event: 'message', args: [] })
      await until('a message', () => seen.find(({ channel }) => channel === 'socket.io#/#'))
      seen.end()
      channels = protocol.channels(protocol.uidOf(seen.find(({ channel }) => channel === 'socket.io#/#').bytes))
    })
    beforeEach(async () => {
      if (!bystander?.connected) bystander = await login(all, hound, 'bystander')
    })
    after(() => all.end(async () => {
      assert.ok(!hound.output.includes('panicked'), hound.output)
      await hound.stop()
    }))

    let fences = 0
    /** The bystander is there, hears what is meant for it and nothing else, and Greyhound still does everything. */
    async function unharmed() {
      const text = `fence ${fences++}`
      bystander.seen.length = 0
      await server.command(protocol.publish, 'socket.io#/#', protocol.message(['message', text], { ...opts, rooms: ['user(bystander)'] }))
      await allHave([bystander], text)
      assert.deepEqual(bystander.seen, [['message', text]])
      await push(bystander, 'still here')
      const { sockets } = await hound.sockets({ room: 'user(bystander)' })
      assert.deepEqual(sockets.map(socket => socket.rooms.filter(room => room !== bystander.id)), [['user(bystander)']])
      assert.ok((await hound.ready()).ok, (await hound.ready()).text)
    }
    const received = kind => hound.metric('greyhound_messaging_redis_received_total', kind && `kind="${kind}"`)
    const fewLines = mark => {
      const lines = hound.output.slice(mark).split('\n').length - 1
      assert.ok(lines <= 20, `${lines} lines in the log:\n${hound.output.slice(mark, mark + 3000)}`)
    }

    for (const [kind, list] of Object.entries(bodies)) {
      test(`${kind} are ignored on every channel`, async () => {
        const mark = hound.output.length
        const before = await received()
        for (const channel of channels) {
          for (const body of list) await server.command(protocol.publish, channel, body)
        }
        await unharmed()
        assert.ok(await received() > before)
        fewLines(mark)
      })
    }

    test('they are counted', async () => {
      assert.ok(await received('malformed') > 1000)
    })

    test('a flood of questions on all channels holds nobody up for long', async () => {
      const mark = hound.output.length
      const client = server.connect()
      const { questions, publish } = protocol
      await Promise.all(Array.from({ length: 24_000 }, (_, n) => client.call(publish, ...questions[n % questions.length](n))))
      await unharmed()
      assert.ok(bystander.connected)
      fewLines(mark)
    })

    test('a message of many megabytes is survived', async () => {
      for (const to of [['user(nobody)'], []]) {
        await server.command(protocol.publish, 'socket.io#/#', protocol.message(['for nobody', 'x'.repeat(20_000_000)], { ...opts, rooms: to, except: ['user(bystander)'] }))
      }
      await unharmed()
    })
  })
}

const isText = it => typeof it === 'string'
const areTexts = list => Array.isArray(list) && list.every(isText)
const isTarget = it => it && areTexts(it.rooms) && areTexts(it.except)

/** What a Node with adapter 8.3 reads, as it reads it; an error where that would fail or make no sense. */
function readAsNode({ channel, bytes }) {
  if (channel.startsWith('socket.io#')) {
    const [, namespace, room] = /^socket\.io#(\/[^#]*)#(?:(.*)#)?$/.exec(channel)
    const [uid, packet, opts] = msgpack.decode(bytes)
    assert.ok(isText(uid) && uid.length > 0)
    assert.deepEqual([packet.type, packet.nsp], [2, namespace])
    assert.ok(Array.isArray(packet.data) && isText(packet.data[0]))
    assert.ok(isTarget(opts) && opts.flags && typeof opts.flags === 'object' && !opts.flags.local)
    if (room) assert.deepEqual(opts.rooms, [room])
    return 'message'
  }
  const [, kind] = /^socket\.io-(request|response)#\/[^#]*#(?:[^#]*#)?$/.exec(channel)
  const it = bytes[0] === 0x7b ? JSON.parse(bytes.toString()) : msgpack.decode(bytes)
  if (kind === 'request') {
    assert.ok(isText(it.uid))
    const needsId = it.type !== 2 && it.type !== 3 && it.type !== 4
    assert.equal(isText(it.requestId), needsId || it.requestId !== undefined)
    if ([2, 3, 4, 5, 7].includes(it.type)) assert.ok(isTarget(it.opts))
    if ([2, 3].includes(it.type)) assert.ok(areTexts(it.rooms))
    if (it.type === 4) assert.equal(typeof it.close, 'boolean')
    if (it.type === 7) assert.ok(isText(it.packet.data[0]) && Number.isInteger(it.opts.flags.timeout))
    assert.ok([1, 2, 3, 4, 5, 7].includes(it.type))
    return `request ${it.type}`
  }
  if (it.requestid !== undefined) {
    assert.ok(isText(it.requestid))
    return `old response ${Object.keys(it).filter(key => key !== 'requestid')}`
  }
  assert.ok(isText(it.requestId))
  if (it.type === 8) assert.ok(Number.isInteger(it.clientCount))
  if (it.type === 6 || it.type === 9) assert.ok(('data' in it) || ('packet' in it))
  for (const socket of it.type === undefined && it.sockets || []) {
    if (isText(socket)) continue
    assert.ok(isText(socket.id) && areTexts(socket.rooms) && socket.data !== undefined)
    assert.deepEqual(Object.keys(socket.handshake).sort(), ['address', 'auth', 'headers', 'issued', 'query', 'secure', 'time', 'url', 'xdomain'])
  }
  return `response ${it.type ?? Object.keys(it).filter(key => key !== 'requestId')}`
}

test('Node could read everything that Greyhound publishes by the classic protocol', async t => {
  const server = await redis(t)
  const [hound, other] = await Promise.all([greyhound(t, server), greyhound(t, server)])
  await assembled(server, 2)
  const seen = await server.record()
  const own = new Set()
  const ask = async request => {
    const body = Buffer.isBuffer(request) ? request : json(request)
    own.add(body.toString('latin1'))
    await server.publish('socket.io-request#/#', body)
  }
  const sockets = await Promise.all([hound, hound, other].map((server, n) => login(t, server, 'author', { generation: n === 1 ? '2.5' : '4.8' })))
  sockets.forEach(socket => socket.on('question', answer => answer({ ž: 1 }, 'more')))
  const [, , moved] = sockets

  const rooms = ['user(author)']
  const sendable = Object.entries(values).map(([name, it]) => [name, JSON.parse(JSON.stringify(it ?? null))])
  for (const args of [[], ...sendable]) await hound.emit({ rooms, event: 'message', args, durable: false })
  await hound.emit({ rooms: [], event: 'message', args: [] })
  await hound.emit({ rooms: [...rooms, 'a#b', ''], except: ['user(x)'], event: 'ž', args: [], volatile: true })
  await hound.emit({ rooms: ['a#b'], event: 'message', args: [], namespace: '/chat' })
  assert.equal((await hound.emit({ rooms, event: 'question', args: [], ack_timeout: '5s' })).acks.length, 3)
  await hound.sockets()
  await hound.sockets({ room: ['user(author)', 'b'], except: 'c', namespace: '/chat' })
  await hound.rooms()
  await hound.nodes()
  await hound.tell('join', { rooms, except: ['x'], targets: ['a', 'b'] })
  await hound.tell('leave', { rooms, targets: ['a'] })

  for (const type of [0, 1, 5]) await ask({ uid: 'fake00', requestId: `new${type}`, type, rooms: [], opts: { rooms: [], except: [] } })
  await ask({ uid: 'fake00', requestId: 'new6', type: 6, data: ['ask', 1] })
  await ask(msgpack.encode({ uid: 'fake00', requestId: 'new7', type: 7, packet: { type: 2, data: ['question'], nsp: '/' }, opts: { rooms: [], except: [], flags: { timeout: 3000 } } }))
  await ask({ requestId: 'new2', type: 2, sid: moved.id, room: 'c' })
  await ask({ requestid: 'old0', type: 0, rooms: [] })
  await ask({ requestid: 'old1', type: 1, sid: moved.id })
  await ask({ requestid: 'old2', type: 2 })
  await ask({ requestid: 'old3', type: 3, sid: moved.id, room: 'd' })
  await ask({ requestid: 'old4', type: 4, sid: moved.id, room: 'd' })
  await ask({ requestid: 'old5', type: 5, data: { n: 1 } })
  await until('the last answers', () => seen.filter(({ bytes }) => bytes.includes('old5')).length >= 3)
  const gone = sockets.map(socket => next(socket, 'disconnect'))
  await ask({ requestid: 'old6', type: 6, sid: moved.id, close: true })
  await gone[2]
  await hound.tell('disconnect', { rooms, except: ['x'], close: true })
  await Promise.all(gone)
  await hound.stop()
  await other.stop()

  const theirs = seen.filter(({ bytes }) => !own.has(bytes.toString('latin1')))
  const forNode = theirs.filter(({ channel }) => /^socket\.io(-request|-response)?#/.test(channel))
  const problems = new Set()
  const kinds = new Set(forNode.map(published => {
    try {
      return readAsNode(published)
    } catch (error) {
      problems.add(`${published.channel}: ${error.message.split('\n')[0]}: ${published.bytes.toString('latin1').slice(0, 200)}`)
      return 'unreadable'
    }
  }))
  assert.deepEqual([...problems].slice(0, 5), [])
  for (const kind of ['message', 'request 1', 'request 2', 'request 3', 'request 4', 'request 5', 'request 7', 'response sockets', 'response rooms', 'response 6',
    'response 8', 'response 9', 'old response clients', 'old response rooms', 'old response data', 'old response ']) {
    assert.ok(kinds.has(kind), `no ${kind} among ${[...kinds]}`)
  }
  // Whatever else it says is for other Greyhounds, on channels that no Node subscribes to.
  for (const { channel } of theirs) assert.match(channel, /^socket\.io(#|-request#|-response#|-greyhound#)/)
})

/** What a Node with the sharded adapter 8.3 reads. */
function readAsShardedNode({ channel, bytes }) {
  const it = bytes[0] === 0x7b ? JSON.parse(bytes) : msgpack.decode(bytes)
  assert.match(it.uid, /^[0-9a-f]{16}$/)
  assert.equal(it.nsp, '/')
  const { type, data } = it
  const [, room] = /^socket\.io#\/#(?:(.*)#)?$/.exec(channel)
  if ([3, 4, 5, 6, 7].includes(type)) assert.ok(isTarget(data.opts))
  if (type === 3) assert.ok(data.packet.type === 2 && isText(data.packet.data[0]) && data.opts.flags)
  if (type === 4 || type === 5) assert.ok(areTexts(data.rooms))
  if (type === 6) assert.equal(typeof data.close, 'boolean')
  if (type >= 7 && type <= 12) assert.ok(isText(data.requestId))
  if (type === 8) assert.ok(data.sockets.every(socket => isText(socket.id) && areTexts(socket.rooms) && socket.handshake && socket.data !== undefined))
  if (type === 11) assert.ok(Number.isInteger(data.clientCount))
  if (type === 3 && room) assert.deepEqual(data.opts.rooms, [room])
  assert.ok([1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 12, 13].includes(type))
  return type
}

test('Node could read everything that Greyhound publishes by the sharded protocol', async t => {
  const server = await redis(t)
  const [hound, other] = await Promise.all([greyhound(t, server, { mode: 'sharded' }), greyhound(t, server, { mode: 'sharded' })])
  await assembled(server, 2, { sharded: true })
  const fake = 'fedcba9876543210'
  const seen = await server.record('socket.io#/#', 'socket.io#/#user(author)#', `socket.io#/#${fake}#`)
  const sockets = await Promise.all([hound, other].map(server => login(t, server, 'author')))
  sockets.forEach(socket => socket.on('question', answer => answer({ ž: 1 })))
  const rooms = ['user(author)']
  const sendable = Object.entries(values).map(([name, it]) => [name, JSON.parse(JSON.stringify(it ?? null))])
  for (const args of [[], ...sendable]) await hound.emit({ rooms, event: 'message', args, durable: false })
  await hound.emit({ rooms: [], event: 'message', args: [] })
  // Who listens counts as a member here, and never answers.
  assert.equal((await hound.emit({ rooms, event: 'question', args: [], ack_timeout: '2s' })).acks.length, 2)
  assert.equal((await hound.sockets()).complete, false)
  assert.equal(await hound.nodes(), 3)
  await hound.tell('join', { rooms, targets: ['a'] })
  await hound.tell('leave', { rooms, targets: ['a'] })
  const ask = (type, data) => server.command('SPUBLISH', 'socket.io#/#', json({ uid: fake, nsp: '/', type, data }))
  await ask(7, { requestId: 'q7', opts })
  await ask(9, { requestId: 'q9', packet: ['ask', 1] })
  await ask(3, { requestId: 'q3', packet: { type: 2, data: ['question'] }, opts: { rooms, except: [], flags: { timeout: 3000 } } })
  await until('the acknowledgements', () => seen.filter(({ bytes }) => bytes.includes('q3') && readAsShardedNode({ channel: 'socket.io#/#', bytes }) === 12).length === 2)
  await hound.tell('disconnect', { rooms, close: false })
  await Promise.all([hound.stop(), other.stop()])

  const theirs = seen.filter(({ bytes }) => !bytes.includes(`"uid":"${fake}"`))
  const kinds = new Set(theirs.map(readAsShardedNode))
  for (const kind of [3, 4, 5, 6, 7, 8, 10, 11, 12]) assert.ok(kinds.has(kind), `no ${kind} among ${[...kinds]}`)
})
