// What Node servers and a Greyhound that share a Redis do for one another, whatever the protocol between them.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sign, until } from '../clients/greyhound.mjs'
import { connect, login, next, record } from '../clients/sockets.mjs'
import { callback } from './node.mjs'
import { assertSame, values } from './values.mjs'

const generations = ['4.8', '2.5']

/** The last message at each of the sockets is the one with this first argument. */
export const allHave = (sockets, last = 'last') =>
  until(`\`${last}\` at all of the clients`, () => sockets.every(socket => socket.seen.at(-1)?.[1] === last))

const every = devices => Object.values(devices).flat()
const texts = socket => socket.seen.map(([event, ...args]) => args[0] ?? event)

/**
 * Tests of `members()`: { near, far, hound }, two Node servers and a Greyhound, with the namespaces `/` and `/chat`.
 * `subscribed(namespace, room, count)` waits until so many of them get what is published to a room.
 */
export function essentials(members, { subscribed = () => {}, allRooms = true } = {}) {
  /** A socket of each generation of one user at each of the servers: { [generation]: [at the first, at the second...] }. */
  async function devices(t, servers, user, namespace = '/', options = {}) {
    const at = generation => Promise.all(servers.map(server => login(t, server, user, { generation, url: server.url + namespace, ...options })))
    const sockets = Object.fromEntries(await Promise.all(generations.map(async generation => [generation, await at(generation)])))
    await subscribed(namespace, `user(${user})`, servers.length)
    return sockets
  }

  test('every value that Node publishes arrives at Greyhound\'s clients as at another Node\'s', async t => {
    const { near, far, hound } = members()
    const sockets = await devices(t, [far, hound], 'values')
    for (const [name, it] of Object.entries(values)) await near.io.to('user(values)').emit('message', name, it)
    await near.io.to('user(values)').emit('message', 'last')
    await allHave(every(sockets))
    for (const [atNode, atHound] of Object.values(sockets)) {
      assert.equal(atNode.seen.length, Object.keys(values).length + 1)
      assertSame(atHound.seen, atNode.seen)
    }
  })

  test('every value that Greyhound publishes arrives at Node\'s clients as at its own', async t => {
    const { near, far, hound } = members()
    const sockets = await devices(t, [hound, near, far], 'json')
    const json = Object.entries(values).map(([name, it]) => [name, JSON.parse(JSON.stringify(it ?? null))])
    // Half a pair is JSON, but cannot be UTF-8: a client of the node itself sees another one than the rest also with Node.
    const known = json.filter(([name]) => name !== 'half a surrogate pair')
    for (const args of [...known, ['last']]) await hound.emit({ rooms: ['user(json)'], event: 'message', args, durable: false })
    await allHave(every(sockets))
    for (const [atHound, ...atNodes] of Object.values(sockets)) {
      assert.equal(atHound.seen.length, known.length + 1)
      for (const atNode of atNodes) assertSame(atNode.seen, atHound.seen)
    }
  })

  /** The same with a publisher of either kind: `to(rooms, except, namespace)` gives { emit, volatile }. */
  async function addressing(t, mark, publisher) {
    const { near, far, hound } = members()
    const domain = `${mark.toLowerCase().replace(' ', '-')}.example`
    const both = { claims: { site: domain } }
    const [a, b, chat] = await Promise.all([
      devices(t, [near, far, hound], `${mark} a`, '/', both), devices(t, [near, far, hound], `${mark} b`), devices(t, [near, far, hound], `${mark} a`, '/chat'),
    ])
    const everyone = `everyone of ${mark}`
    for (const socket of [a, b, chat].flatMap(every)) record(socket, everyone)
    const [mine, yours, site] = [`user(${mark} a)`, `user(${mark} b)`, `site(${domain})`]

    await publisher([mine], [], '/').volatile('message', 'volatile')
    await allHave(every(a), 'volatile')
    await publisher([mine], [], '/').emit('message', 'one room')
    await publisher([mine, site, 'user(nobody)'], [], '/').emit('message', 'three rooms')
    await publisher([mine, yours], [yours, 'user(nobody)'], '/').emit('message', 'except')
    await publisher([mine, yours], [a['4.8'][0].id, a['2.5'][2].id], '/').emit('message', 'except two sockets')
    await publisher([a['4.8'][1].id, b['4.8'][2].id], [], '/').emit('message', 'two sockets')
    await publisher([b['4.8'][2].id], [], '/').emit('message', 'a socket')
    await publisher([mine], [], '/chat').emit('message', 'chat')
    await publisher([], [], '/').emit(everyone)
    await publisher([mine, yours], [], '/').emit('message', 'last')

    const wanted = new Map(every(chat).map(socket => [socket, ['chat']]))
    for (const generation of generations) {
      a[generation].forEach((socket, n) => {
        const spared = (generation === '4.8' && n === 0) || (generation === '2.5' && n === 2)
        const meant = generation === '4.8' && n === 1
        wanted.set(socket, ['volatile', 'one room', 'three rooms', 'except', ...spared ? [] : ['except two sockets'],
          ...meant ? ['two sockets'] : [], everyone, 'last'])
      })
      b[generation].forEach((socket, n) => {
        const meant = generation === '4.8' && n === 2 ? ['two sockets', 'a socket'] : []
        wanted.set(socket, ['except two sockets', ...meant, everyone, 'last'])
      })
    }
    await until('all of it', () => [...wanted].every(([socket, texts]) => socket.seen.length >= texts.length))
    // Not in order: with the sharded protocol, messages to different rooms take different ways.
    for (const [socket, list] of wanted) assert.deepEqual(texts(socket).sort(), list.sort())
  }

  test('rooms, exceptions and namespaces of what Node publishes hold at Greyhound', t => addressing(t, 'by Node', (rooms, except, namespace) => {
    const { near } = members()
    const target = rooms.length ? near.io.of(namespace).to(rooms).except(except) : near.io.of(namespace)
    return { emit: target.emit, volatile: target.volatile.emit }
  }))

  test('rooms, exceptions and namespaces of what Greyhound publishes hold at Node', t => addressing(t, 'by Greyhound', (rooms, except, namespace) => {
    const { hound } = members()
    const emit = volatile => (event, ...args) => hound.emit({ rooms, except, namespace, event, args, volatile })
    return { emit: emit(false), volatile: emit(true) }
  }))

  test('a message that Node keeps to itself does not come to Greyhound\'s clients', async t => {
    const { near, hound } = members()
    const sockets = await devices(t, [near, hound], 'local')
    await near.io.local.to('user(local)').emit('message', 'local')
    await near.io.to('user(local)').emit('message', 'last')
    await allHave(every(sockets))
    for (const [atNode, atHound] of Object.values(sockets)) assert.deepEqual([texts(atNode), texts(atHound)], [['local', 'last'], ['last']])
  })

  test('Node knows Greyhound\'s sockets, and Greyhound Node\'s', async t => {
    const { near, far, hound } = members()
    const sockets = await devices(t, [near, far, hound], 'known', '/', { claims: { site: 'known.example' }, query: { page: 'x' }, auth: { device: 'phone', screens: [1, null] } })
    const ids = every(sockets).map(socket => socket.id).sort()

    const asNode = await near.io.in('user(known)').fetchSockets()
    assert.deepEqual(asNode.map(socket => socket.id).sort(), ids)
    for (const [generation, [, atFar, atHound]] of Object.entries(sockets)) {
      const [theirs, ours] = [atFar, atHound].map(socket => asNode.find(({ id }) => id === socket.id))
      assert.deepEqual(ours.rooms.toSorted(), [ours.id, 'site(known.example)', 'user(known)'].sort())
      assert.ok(ours.data && typeof ours.data === 'object')
      const shape = handshake => Object.fromEntries(Object.entries(handshake).map(([key, value]) => [key, typeof value]))
      assert.deepEqual(shape(ours.handshake), shape(theirs.handshake))
      assert.deepEqual({ ...ours.handshake.query, t: 0, b64: 0 }, { ...theirs.handshake.query, t: 0, b64: 0 })
      assert.deepEqual(Object.keys(ours.handshake.headers).sort(), Object.keys(theirs.handshake.headers).sort(), generation)
      assert.deepEqual(ours.handshake.auth, theirs.handshake.auth, generation)
      assert.ok(Math.abs(ours.handshake.issued - theirs.handshake.issued) < 60_000, 'issued is in milliseconds')
    }

    const asHound = await hound.sockets({ room: ['user(known)', 'user(nobody)'] })
    assert.ok(asHound.complete)
    assert.deepEqual(asHound.sockets.map(socket => socket.id).sort(), ids)
    for (const [near, far, own] of Object.values(sockets)) {
      const [a, b, c] = [near, far, own].map(socket => asHound.sockets.find(({ id }) => id === socket.id))
      assert.deepEqual([a.local, b.local, c.local], [false, false, true])
      assert.deepEqual([a.data, b.data], [{ user: 'known' }, { user: 'known' }])
      assert.equal(c.user, 'known')
      for (const socket of [a, b, c]) {
        assert.ok(socket.rooms.includes('user(known)') && socket.rooms.includes('site(known.example)'), socket.rooms)
        assert.equal(socket.handshake.query.page, 'x')
      }
    }
    const spared = await hound.sockets({ room: 'user(known)', except: [sockets['4.8'][0].id, sockets['4.8'][2].id] })
    assert.equal(spared.sockets.length, ids.length - 2)
    assert.deepEqual((await hound.sockets({ room: 'user(known)', namespace: '/chat' })), { sockets: [], complete: true })
    assert.equal((await near.io.in('user(known)').except([sockets['4.8'][0].id, sockets['4.8'][2].id]).fetchSockets()).length, ids.length - 2)

    if (!allRooms) return
    const rooms = await hound.rooms()
    assert.ok(rooms.complete)
    for (const room of ['user(known)', 'site(known.example)', ...ids]) assert.ok(rooms.rooms.includes(room), room)
  })

  test('an id that is a number is the same room for both', async t => {
    const { near, hound } = members()
    for (const id of ['42.0', '9007199254740993', '1e21']) {
      const sockets = await Promise.all([near, hound].map(async ({ url }) => {
        const socket = connect(t, url)
        const accepted = next(socket, 'authenticated')
        socket.emit('authenticate', { token: sign(`{"id":${id}}`) })
        await accepted
        record(socket, 'message')
        return socket
      }))
      const room = `user(${JSON.parse(id)})`
      // Again and again: Node tells a client that it is in before its subscription to the room is there.
      await until(`both messages to ${room}`, async () => {
        await near.io.to(room).emit('message', 'by Node')
        await hound.emit({ rooms: [room], event: 'message', args: ['by Greyhound'] })
        return sockets.every(socket => new Set(socket.seen.map(([, by]) => by)).size === 2)
      })
    }
  })

  test('either counts both as nodes', async () => {
    const { near, hound } = members()
    for (const namespace of ['/', '/chat']) {
      assert.equal(await near.io.of(namespace).adapter.serverCount(), 3)
      assert.equal(await hound.nodes(namespace), 3)
    }
  })

  /** The same with a mover of either kind: { join, leave, disconnect }, each of (rooms, except, ...). */
  async function moving(t, mark, mover) {
    const { near, far, hound } = members()
    const [mine, yours] = await Promise.all([devices(t, [near, far, hound], `${mark} a`), devices(t, [near, far, hound], `${mark} b`)])
    const [a, b, room] = [`user(${mark} a)`, `user(${mark} b)`, `room of ${mark}`]
    const has = (room, sockets) => until(`${sockets.length} sockets in ${room}`, async () => {
      const ids = (await near.io.in(room).fetchSockets()).map(socket => socket.id)
      return JSON.stringify(ids.sort()) === JSON.stringify(sockets.map(socket => socket.id).sort())
    })
    await mover.join([a, b], [yours['4.8'][0].id, yours['4.8'][2].id], [room, `${room} 2`])
    const joined = [...every(mine), ...every(yours)].filter(socket => socket !== yours['4.8'][0] && socket !== yours['4.8'][2])
    await has(room, joined)
    await has(`${room} 2`, joined)
    await subscribed('/', room, 3)
    await near.io.to(room).emit('message', 'joined')
    await allHave(joined, 'joined')
    await mover.leave([b], [], [room])
    await has(room, every(mine))
    await has(`${room} 2`, joined)
    await hound.emit({ rooms: [room], event: 'message', args: ['left'] })
    await allHave(every(mine), 'left')

    const gone = every(yours).map(socket => next(socket, 'disconnect'))
    await mover.disconnect([a, b], [a], false)
    await Promise.all(gone)
    const closed = every(mine).map(socket => next(socket, 'disconnect'))
    await mover.disconnect([a], [], true)
    await Promise.all(closed)
    await has(room, [])
    for (const socket of every(yours)) assert.ok(!texts(socket).includes('left'))
  }

  test('Node moves and disconnects Greyhound\'s sockets', t => {
    const { near } = members()
    return moving(t, 'moved by Node', {
      join: (rooms, except, targets) => near.io.in(rooms).except(except).socketsJoin(targets),
      leave: (rooms, except, targets) => near.io.in(rooms).except(except).socketsLeave(targets),
      disconnect: (rooms, except, close) => near.io.in(rooms).except(except).disconnectSockets(close),
    })
  })

  test('Greyhound moves and disconnects Node\'s sockets', t => {
    const { hound } = members()
    return moving(t, 'moved by Greyhound', {
      join: (rooms, except, targets) => hound.tell('join', { rooms, except, targets }),
      leave: (rooms, except, targets) => hound.tell('leave', { rooms, except, targets }),
      disconnect: (rooms, except, close) => hound.tell('disconnect', { rooms, except, close }),
    })
  })

  test('Node\'s servers tell and ask each other, and Greyhound holds nobody up', async () => {
    const { near, far } = members()
    for (const namespace of ['/', '/chat']) {
      await near.io.of(namespace).serverSideEmit('news', namespace, { n: 1 })
      await until('the news at the other Node', () => far.heard.some(([event, from]) => event === 'news' && from === namespace))
      const answers = await near.io.of(namespace).serverSideEmit('ask', { n: [1] }, callback)
      assert.deepEqual(answers.filter(answer => answer === far.name), [far.name])
      assert.equal(answers.length, 2)
    }
  })

  test('clients of both acknowledge what Node publishes', async t => {
    const { near, far, hound } = members()
    const sockets = await devices(t, [near, far, hound], 'asked by Node')
    every(sockets).forEach((socket, n) => socket.on('question', (text, bytes, answer) => answer({ n, text, bytes })))
    const answers = await near.io.to('user(asked by Node)').timeout(10_000).emit('question', 'ž', Buffer.from([1, 255]), callback)
    assert.deepEqual(answers.sort((a, b) => a.n - b.n), every(sockets).map((_, n) => ({ n, text: 'ž', bytes: Buffer.from([1, 255]) })))
    assert.deepEqual(await near.io.to('user(nobody)').timeout(10_000).emit('question', 'x', callback), [])
    assert.deepEqual(await near.io.to(sockets['4.8'][2].id).timeout(10_000).emit('question', 1, null, callback), [{ n: 2, text: 1, bytes: null }])

    sockets['4.8'][2].off('question')
    await assert.rejects(async () => near.io.to('user(asked by Node)').timeout(500).emit('question', '?', null, callback), error => {
      assert.match(error.message, /timed out/)
      assert.equal(error.partial.length, every(sockets).length - 1)
      return true
    })
  })

  test('clients of both acknowledge what Greyhound publishes', async t => {
    const { near, far, hound } = members()
    const sockets = await devices(t, [near, far, hound], 'asked by Greyhound')
    every(sockets).forEach((socket, n) => socket.on('question', (text, answer) => answer({ n, text }, 'and more')))
    const ask = (rooms, ack_timeout) => hound.emit({ rooms, event: 'question', args: ['ž'], ack_timeout })
    const answer = await ask(['user(asked by Greyhound)'], '10s')
    assert.deepEqual(answer.acks.sort((a, b) => a.n - b.n), every(sockets).map((_, n) => ({ n, text: 'ž' })))
    assert.deepEqual([answer.expected, answer.complete], [every(sockets).length, true])
    const none = await ask(['user(nobody)'], '10s')
    assert.deepEqual([none.acks, none.expected, none.complete], [[], 0, true])

    sockets['4.8'][0].off('question')
    const partial = await ask(['user(asked by Greyhound)'], '500ms')
    assert.deepEqual([partial.acks.length, partial.expected, partial.complete], [every(sockets).length - 1, every(sockets).length, false])
  })

  test('many messages in both directions arrive, in order and once', async t => {
    const { near, far, hound } = members()
    const sockets = await devices(t, [near, far, hound], 'many')
    const count = 500
    await Promise.all([near, far, hound].map(async (server, from) => {
      for (let n = 0; n < count; n++) await server.emit({ rooms: ['user(many)'], event: 'message', args: [{ from, n }], durable: false })
    }))
    await until('all messages', () => every(sockets).every(socket => socket.seen.length >= 3 * count))
    for (const socket of every(sockets)) {
      for (const from of [0, 1, 2]) {
        assert.deepEqual(socket.seen.map(([, it]) => it).filter(it => it.from === from).map(it => it.n), Array.from({ length: count }, (_, n) => n))
      }
    }
  })
}
