// What is published on one connection to Redis happens in its order, in rooms of any size: requests between the messages before and after them.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { until } from '../clients/greyhound.mjs'
import { connect, login, next, record, upgraded, ways } from '../clients/sockets.mjs'
import { allHave } from './essentials.mjs'
import { greyhound } from './greyhound.mjs'
import { redis } from './redis.mjs'

const msgpack = createRequire(import.meta.url)('notepack.io')

test('sockets have joined and left rooms when the next message comes', async t => {
  const server = await redis(t)
  const hound = await greyhound(t, server)
  const socket = await login(t, hound, 'mover')
  const connection = server.connect()
  const emit = (room, arg) => connection.publish('socket.io#/#', msgpack.encode(['abcdef', { type: 2, data: ['message', arg], nsp: '/' }, { rooms: [room], except: [], flags: {} }]))
  const move = (type, room) => connection.publish('socket.io-request#/#', JSON.stringify({ uid: 'abcdef', type, opts: { rooms: ['user(mover)'], except: [] }, rooms: [room] }))
  const rounds = 200
  for (let n = 0; n < rounds; n++) {
    move(2, `room ${n}`)
    emit(`room ${n}`, n)
    move(3, `room ${n}`)
    emit(`room ${n}`, 'after it left')
  }
  emit('user(mover)', 'last')
  await allHave([socket])
  assert.deepEqual(socket.seen.map(([, arg]) => arg), [...Array(rounds).keys(), 'last'])
})

test('each of many in a room gets each message once, in the order of publishing, also who comes and goes', async t => {
  const server = await redis(t)
  const hound = await greyhound(t, server)
  const connection = server.connect()
  const emit = (rooms, arg) => connection.publish('socket.io#/#', msgpack.encode(['abcdef', { type: 2, data: ['message', arg], nsp: '/' }, { rooms, except: [], flags: {} }]))
  const come = async count => {
    const sockets = []
    // Not all at once: each has a handshake to do.
    for (let n = 0; n < count; n += 100) sockets.push(...await Promise.all(Array.from({ length: 100 }, (_, k) => login(t, hound, `${n + k}`, { claims: { site: 'many.example' } }))))
    return sockets
  }
  const room = 'site(many.example)'
  const first = await come(600)
  for (let n = 0; n < 50; n++) {
    emit([room], n)
    if (n % 10 === 9) emit(['user(7)'], `to 7 after ${n}`)
  }
  emit([room, 'user(7)'], 'to both')
  emit([], 'to all')
  emit([room], 'last')
  await allHave(first)
  const [gone, left] = [first.slice(0, 300), first.slice(300)]
  const wanted = [...Array(50).keys(), 'to both', 'to all', 'last']
  for (const [n, socket] of first.entries()) {
    const seen = socket.seen.map(([, arg]) => arg)
    assert.deepEqual(n === 7 ? seen.filter(arg => !`${arg}`.startsWith('to 7')) : seen, wanted)
    if (n === 7) for (const after of [9, 19, 29, 39, 49]) assert.equal(seen[seen.indexOf(after) + 1], `to 7 after ${after}`)
  }
  for (const socket of gone) socket.disconnect()
  await until('only those who stayed', async () => (await hound.sockets({ room })).sockets.length === left.length)
  const later = await come(200)
  for (const socket of left) socket.seen.length = 0
  for (let n = 0; n < 20; n++) emit([room], n)
  emit([room], 'last')
  await allHave([...left, ...later])
  for (const socket of [...left, ...later]) assert.deepEqual(socket.seen.map(([, arg]) => arg), [...Array(20).keys(), 'last'])
  await hound.row('messaging.message', row => row.rooms.includes(room) && row.recipients === 500)
})

test('each client gets messages of every kind in their order, from before its upgrade to a WebSocket until after', async t => {
  const server = await redis(t)
  const hound = await greyhound(t, server, { namespaces: ['/', '/chat'] })
  const connection = server.connect()
  // What is published before it is connected waits, and may be overtaken.
  await connection.ping()
  const opts = { rooms: ['site(kinds.example)'], except: [], flags: {} }
  const packet = (nsp, ...args) => ({ type: 2, data: ['message', ...args], nsp })
  const kinds = {
    plain: n => connection.publish('socket.io#/#', msgpack.encode(['abcdef', packet('/', n), opts])),
    long: n => connection.publish('socket.io#/#', msgpack.encode(['abcdef', packet('/', n, 'x'.repeat(70_000)), opts])),
    attached: n => connection.publish('socket.io#/#', msgpack.encode(['abcdef', packet('/', n, Buffer.alloc(200_000), [Buffer.from('b')]), opts])),
    acknowledged: n => connection.publish('socket.io-request#/#', msgpack.encode({ uid: 'abcdef', requestId: `r${n}`, type: 7, packet: packet('/', n), opts: { ...opts, flags: { timeout: 1000 } } })),
    elsewhere: n => connection.publish('socket.io#/chat#', msgpack.encode(['abcdef', packet('/chat', n), opts])),
  }
  const cycle = ['plain', 'attached', 'elsewhere', 'plain', 'acknowledged', 'plain', 'plain', 'long', 'elsewhere', 'plain']
  const claims = { site: 'kinds.example' }
  const devices = []
  const come = async ({ generation, way }) => {
    const socket = connect(t, hound.url, { generation, way })
    devices.push(Object.assign(socket, { kind: `${generation} by ${way}` }))
    record(socket, 'message')
    const authenticated = next(socket, 'authenticated')
    socket.emit('authenticate', { token: hound.token(`kinds ${generation}`, claims) })
    await authenticated
    const elsewhere = socket.io.socket('/chat')
    devices.push(Object.assign(elsewhere, { seen: [], kind: `/chat of ${generation} by ${way}` }))
    record(elsewhere, 'message')
    elsewhere.connect?.()
    const there = next(elsewhere, 'authenticated')
    elsewhere.emit('authenticate', { token: hound.token(`kinds ${generation}`, claims) })
    await there
    if (way === 'upgrade') await upgraded(socket)
  }
  let [n, coming] = [0, true]
  const arrived = Promise.all([['1.7', 'upgrade'], ['2.5', 'upgrade'], ['3.1', 'upgrade'], ['4.8', 'upgrade'], ['4.8', 'websocket'], ['2.5', 'websocket']]
    .map(([generation, way]) => come({ generation, way }))).finally(() => { coming = false })
  const more = () => {
    for (let k = 0; k < 10; k++, n++) kinds[cycle[n % 10]](n)
  }
  for (; coming; await new Promise(done => setTimeout(done, 2))) more()
  await arrived
  for (let k = 0; k < 30; k++) more()
  const numbers = socket => socket.seen.map(([, number]) => number)
  for (const socket of devices) {
    const mine = [...Array(n).keys()].filter(k => (cycle[k % 10] === 'elsewhere') === (socket.nsp === '/chat'))
    await until('the last message', () => numbers(socket).at(-1) === mine.at(-1))
    assert.deepEqual(numbers(socket), mine.slice(mine.indexOf(numbers(socket)[0])), `what ${socket.kind} got`)
  }
})

test('attachments arrive as bytes at clients of every generation, over every transport', async t => {
  const server = await redis(t)
  const hound = await greyhound(t, server)
  const sockets = await Promise.all(ways.map(async ({ generation, way }) =>
    Object.assign(await login(t, hound, 'bytes', { generation, way }), { kind: `${generation} by ${way}` })))
  const bytes = Buffer.from([1, 3, 255, 4, 1, 2])
  const packet = { type: 2, data: ['message', { bytes }, 'text', Buffer.alloc(0)], nsp: '/' }
  server.connect().publish('socket.io#/#', msgpack.encode(['abcdef', packet, { rooms: ['user(bytes)'], except: [], flags: {} }]))
  for (const socket of sockets) {
    await until(`the message to ${socket.kind}`, () => socket.seen.length === 1)
    const [, { bytes: got }, text, nothing] = socket.seen[0]
    assert.deepEqual([Buffer.from(got), text, Buffer.from(nothing).length], [bytes, 'text', 0], socket.kind)
  }
})
