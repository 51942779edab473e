// Emitters of every generation, and of other languages, reach Greyhound's clients as they reach Node's.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { createRequire } from 'node:module'
import { join, resolve } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { promisify } from 'node:util'
import { until } from '../clients/greyhound.mjs'
import { login, next, record } from '../clients/sockets.mjs'
import { allHave } from './essentials.mjs'
import { assembled, greyhound, shared } from './greyhound.mjs'
import { allAlive, emitter, node } from './node.mjs'
import { redis } from './redis.mjs'
import { asMsgpackJs, assertSame, lengths, sensible, values } from './values.mjs'

const msgpack = createRequire(import.meta.url)('notepack.io')
const run = promisify(execFile)
const here = import.meta.dirname

const emitters = {
  'socket.io-emitter 0.1.0': { package: 'socket.io-emitter-0.1', source: 'emitter 0.x' },
  'socket.io-emitter 0.2.0': { package: 'socket.io-emitter-0.2', source: 'emitter 0.x' },
  // Node stops listening, or its clients fail, at what these make of the values in `alone`.
  'socket.io-emitter 1.1.0': { package: 'socket.io-emitter-1', source: 'emitter 1-3', alone: /undefined|Buffer/, copies: true },
  'socket.io-emitter 2.0.0': { package: 'socket.io-emitter-2', source: 'emitter 1-3', alone: /Buffer|typed array|date/, copies: true },
  'socket.io-emitter 3.2.0': { package: 'socket.io-emitter-3', source: 'emitter 1-3' },
  '@socket.io/redis-emitter 4.1.1': { package: 'socket.io-emitter-4', source: 'emitter 4-5', whole: true },
  '@socket.io/redis-emitter 5.1.0': { package: 'socket.io-emitter-5', source: 'emitter 4-5', whole: true },
}

describe('emitters', { concurrency: 3 }, () => {
  const all = shared()
  let server, hound, peer
  before(async () => {
    server = await redis(all)
    ;[hound, peer] = await Promise.all([greyhound(all, server, { namespaces: ['/', '/chat', '/alone'], env: { LOG__DURABILITY: 'memory' } }), node(all, server)])
    await assembled(server, 2)
  })
  after(() => all.end(async () => {
    allAlive([peer])
    await hound.stop()
  }))

  /** A device of each kind at each of the servers: [[at Node, at Greyhound]...], all of one user. */
  const devices = (t, user, namespace = '/', options) => Promise.all(['4.8', '2.5'].map(generation =>
    Promise.all([peer, hound].map(server => login(t, server, user, { generation, url: server.url + namespace, ...options })))))

  for (const [name, { package: npm, source, alone, copies, whole }] of Object.entries(emitters)) {
    const old = source === 'emitter 0.x'
    const user = `user of ${npm}`
    const room = `user(${user})`

    test(`every value that ${name} publishes arrives as at Node`, async t => {
      const pairs = await devices(t, user)
      const apart = old ? pairs.map(([, atHound]) => atHound)
        : await Promise.all(['4.8', '2.5'].map(generation => login(t, hound, user, { generation, url: `${hound.url}/alone` })))
      const { io } = await emitter(t, npm, server)
      for (const [value, it] of Object.entries(values)) {
        await (alone?.test(value) ? io.of('/alone') : io).to(room).emit('message', value, it)
      }
      for (const target of old ? [io] : [io, io.of('/alone')]) await target.to(room).emit('message', 'last')

      await allHave([...apart, ...old ? [] : pairs.flat()])
      const leaves = source === 'emitter 0.x' || npm === 'socket.io-emitter-1' ? asMsgpackJs : sensible
      const wanted = Object.entries(values).filter(([value]) => old || alone?.test(value)).map(([value, it]) => ['message', value, leaves(it)])
      for (const socket of apart) assertSame(socket.seen, [...wanted, ['message', 'last']])
      if (!old) {
        for (const [atNode, atHound] of pairs) {
          assert.equal(atNode.seen.length, Object.keys(values).length - wanted.length + 1)
          assertSame(atHound.seen, atNode.seen)
        }
      }
      const row = await hound.row('messaging.message', row => row.source === source && row.rooms.includes(room))
      assert.deepEqual([row.event, row.publisher ?? null, row.namespace], ['message', old ? null : 'emitter', '/'])
    })

    test(`${name} reaches who is in its rooms and its namespace as at Node`, async t => {
      const [pairs, strangers, others] = await Promise.all([
        devices(t, `${user} 2`, '/', { claims: { site: `${npm}.example` } }), devices(t, `not ${user}`), devices(t, `${user} 2`, '/chat'),
      ])
      const { io } = await emitter(t, npm, server)
      const mine = `user(${user} 2)`
      const everyone = `to all from ${npm}`
      for (const socket of [...pairs, ...strangers, ...others].flat()) record(socket, everyone)
      // First, and alone: a volatile message is for who is not busy.
      await io.volatile.to(mine).emit('message', 'volatile')
      const seenBy = sockets => old ? sockets.map(([, atHound]) => atHound) : sockets.flat()
      await allHave(seenBy(pairs), 'volatile')
      await io.to(mine).emit('message', 'one room')
      await io.to(mine).to(`site(${npm}.example)`).emit('message', 'two rooms')
      await io.to('user(nobody)').emit('message', 'an empty room')
      if (!whole) await io.json.broadcast.to(mine).emit('message', 'flags without meaning')
      if (npm !== 'socket.io-emitter-0.1') await io.of('/chat').to(mine).emit('message', 'chat')
      await io.emit(everyone)
      await io.to(mine).emit('message', 'last')

      const twoRooms = copies ? [['message', 'two rooms'], ['message', 'two rooms']] : [['message', 'two rooms']]
      const wanted = [['message', 'volatile'], ['message', 'one room'], ...twoRooms,
        ...whole ? [] : [['message', 'flags without meaning']], [everyone], ['message', 'last']]
      await allHave(seenBy(pairs))
      for (const socket of seenBy(pairs)) assert.deepEqual(socket.seen, wanted)
      for (const socket of seenBy(strangers)) assert.deepEqual(socket.seen, [[everyone]])
      if (npm !== 'socket.io-emitter-0.1') await allHave(seenBy(others), 'chat')
    })

    if (!whole) continue
    test(`${name} excepts rooms, moves sockets, disconnects them and speaks to servers as with Node`, async t => {
      const me = `mover ${npm}`
      const [pairs, others] = await Promise.all([devices(t, me), devices(t, `other ${me}`)])
      const { io } = await emitter(t, npm, server)
      const both = [`user(${me})`, `user(other ${me})`]
      const has = (room, count) => until(`${count} sockets in ${room}`, async () => (await peer.io.in(room).fetchSockets()).length === count)

      await io.to(both).except(both[1]).emit('message', 'except')
      await io.except(both[1]).to(both[0]).compress(true).emit('message', 'compressed')
      await io.in(both[0]).socketsJoin([`a ${me}`, `b ${me}`])
      await has(`b ${me}`, 4)
      await io.to(`b ${me}`).to(`a ${me}`).emit('message', 'joined')
      await io.in(both).except(both[1]).socketsLeave(`b ${me}`)
      await has(`b ${me}`, 0)
      await io.to(`b ${me}`).emit('message', 'left')
      await io.to(both).emit('message', 'last')
      await allHave([...pairs, ...others].flat())
      for (const socket of pairs.flat()) assert.deepEqual(socket.seen.map(([, text]) => text), ['except', 'compressed', 'joined', 'last'])
      for (const socket of others.flat()) assert.deepEqual(socket.seen.map(([, text]) => text), ['last'])

      await io.serverSideEmit('news', me, { n: 1 })
      await until('the news at Node', () => peer.heard.some(([, from]) => from === me))
      const gone = pairs.flat().map(socket => next(socket, 'disconnect'))
      await io.in(both[0]).disconnectSockets(true)
      await Promise.all(gone)
      await has(both[1], 4)
      await hound.row('messaging.connection', { event: 'closed', user_id: me })
    })
  }

  test('a map of data and room on the emitters\' channel reaches the room', async t => {
    const pairs = await devices(t, 'of the map')
    const send = map => server.publish('socket.io#emitter', msgpack.encode(map))
    await send({ data: ['message', 'map', { n: 1 }], room: 'user(of the map)' })
    await send({ room: 'user(nobody)', data: ['message', 'to nobody'] })
    await send({ room: 'user(of the map)', data: ['message', 'last'] })
    const atHound = pairs.map(([, atHound]) => atHound)
    await allHave(atHound)
    for (const socket of atHound) assert.deepEqual(socket.seen, [['message', 'map', { n: 1 }], ['message', 'last']])
    await hound.row('messaging.message', row => row.source === 'map' && row.rooms.includes('user(of the map)'))
  })

  // As their sources write it: flags and rooms that are nil or an empty array, a sender that is a host's name.
  const foreign = {
    'PHP (socket.io-php-emitter)': ['socket.io#emitter', room => [{ type: 2, data: ['message', 'last'], nsp: '/' }, { rooms: [room], flags: [] }]],
    'Go (socket.io-go-emitter)': ['socket.io#emitter', room => [{ type: 2, data: ['message', 'last'] }, { rooms: [room], flags: null }]],
    'Go (socket.io-emitter-go)': ['socket.io#/#', room => ['a-host-1', { type: 2, data: ['message', 'last'], nsp: '/' }, { rooms: [room], flags: {} }]],
    'Kotlin (socket-io-redis-emitter)': ['socket.io#/#', room => ['emitter', { type: 2, data: ['message', 'last'], nsp: '/' }, { rooms: [room], except: [], flags: {} }]],
  }
  for (const [language, [channel, message]] of Object.entries(foreign)) {
    test(`what the emitter in ${language} publishes arrives once`, async t => {
      const user = `of ${language.replace(/[()]/g, '')}`
      const pairs = await devices(t, user)
      await server.publish(channel, msgpack.encode(message(`user(${user})`)))
      const sockets = channel === 'socket.io#emitter' ? pairs.map(([, atHound]) => atHound) : pairs.flat()
      await allHave(sockets)
      for (const socket of sockets) assert.equal(socket.seen.length, 1)
    })
  }

  const texts = lengths.map(length => 'x'.repeat(length))
  const packages = {
    'PyPI\'s socket.io-emitter': {
      user: 'of python',
      start: port => spawn(join(here, '.venv/bin/python'), [join(here, 'peers/emitter.py'), port], { env: { ...process.env, PYTHONPATH: join(here, '.venv/emitter') } }),
      // As Python writes them.
      values: ['None', 'True', '2 ** 40', '-2 ** 40', '2 ** 64 - 1', '1.5', 'float("nan")', '"žluťoučký 🐎"', '{"a": [1, {"b": None}]}', 'b"bytes"', ...texts.map(text => `'${text}'`)],
      args: values => `[${values}]`,
      text: text => `"${text}"`,
    },
    'crates.io\'s socketio-rust-emitter': {
      user: 'of rust',
      start: port => spawn(resolve(here, '../../target/cluster/debug/emitter'), [port]),
      // It knows texts alone.
      values: ['', 'žluťoučký 🐎', '{"a":1}', ...texts],
      args: values => values,
      text: text => text,
    },
  }
  for (const [name, { user, start, values, args, text }] of Object.entries(packages)) {
    test(`${name} reaches Greyhound's clients as Node's`, async t => {
      const [pairs, others] = await Promise.all([devices(t, user), devices(t, user, '/chat')])
      const child = start(String(server.port))
      t.after(() => child.kill('SIGKILL'))
      let errors = ''
      child.stderr.on('data', text => (errors += text))
      const room = `user(${user})`
      const emit = (values, { rooms = [room], namespace = '/' } = {}) =>
        child.stdin.write(`${JSON.stringify({ rooms, namespace, event: 'message', args: args(values) })}\n`)
      for (const value of values) emit([text('value'), value])
      emit([text('two')], { rooms: [room, 'user(nobody)'] })
      emit([text('chat')], { namespace: '/chat' })
      emit([text('last')])
      emit([text('last')], { namespace: '/chat' })
      await allHave([...pairs, ...others].flat()).catch(error => assert.fail(`${error.message}\n${errors}`))
      for (const [atNode, atHound] of [...pairs, ...others]) assert.deepEqual(atHound.seen, atNode.seen)
      assert.equal(pairs[0][0].seen.length, values.length + 2)
      assert.deepEqual(others[0][0].seen.map(([, text]) => text), ['chat', 'last'])
      await hound.row('messaging.message', row => row.source === 'emitter 1-3' && row.rooms.includes(room))
    })
  }

  test('the examples in Python and Go publish', async t => {
    const pairs = await devices(t, 'of the examples')
    const root = resolve(here, '../..')
    const room = 'user(of the examples)'
    await run(join(here, '.venv/bin/python'), [join(root, 'examples/publish.py'), room, 'message', '"Python"', '{"n": [1, null, "ž"]}'],
      { env: { ...process.env, REDIS_URL: server.url } })
    await run(join(root, 'target/go/publish'), [room, 'message', 'last', 'ž'], { env: { ...process.env, REDIS_ADDRESS: `127.0.0.1:${server.port}` } })
    await allHave(pairs.flat())
    for (const socket of pairs.flat()) assert.deepEqual(socket.seen, [['message', 'Python', { n: [1, null, 'ž'] }], ['message', 'last', 'ž']])
  })
})
