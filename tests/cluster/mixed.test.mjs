// Node servers and Greyhound in one cluster, by the classic protocol: each does for the other what Node does for Node.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { until } from '../clients/greyhound.mjs'
import { login, next } from '../clients/sockets.mjs'
import { allHave, essentials } from './essentials.mjs'
import { assembled, greyhound, shared } from './greyhound.mjs'
import { allAlive, callback, emitter, node } from './node.mjs'
import { redis } from './redis.mjs'

for (const subscription of ['pattern', 'rooms']) {
  describe(`socket.io 4 and Greyhound, subscription = ${subscription}`, { concurrency: 4 }, () => {
    const all = shared()
    let near, far, hound
    before(async () => {
      const server = await redis(all)
      ;[near, far, hound] = await Promise.all([
        node(all, server), node(all, server, { adapter: { publishOnSpecificResponseChannel: true } }), greyhound(all, server, { subscription }),
      ])
      await assembled(server, 3)
    })
    after(() => all.end(async () => {
      allAlive([near, far])
      await hound.stop()
    }))
    essentials(() => ({ near, far, hound }))
  })
}

test('where nobody is connected no call of Node\'s waits for Greyhound in vain, in any namespace', async t => {
  const server = await redis(t)
  const peers = await Promise.all([false, true].map(publishOnSpecificResponseChannel => node(t, server, { adapter: { publishOnSpecificResponseChannel } })))
  const hounds = await Promise.all([greyhound(t, server), greyhound(t, server, { subscription: 'rooms' })])
  await assembled(server, 4)
  for (const peer of peers) {
    for (const path of ['/', '/chat']) {
      const namespace = peer.io.of(path)
      assert.deepEqual(await namespace.fetchSockets(), [])
      assert.deepEqual(await namespace.in('a').fetchSockets(), [])
      assert.deepEqual(await namespace.adapter.allRooms(), [])
      assert.deepEqual(await namespace.adapter.sockets(new Set()), [])
      assert.deepEqual(await namespace.timeout(4000).emitWithAck('question'), [])
      assert.equal((await namespace.serverSideEmit('ask', 1, callback)).length, 3)
      await namespace.socketsJoin('a')
      await namespace.socketsLeave('a')
      await namespace.disconnectSockets(true)
      await namespace.serverSideEmit('news', 1)
      await namespace.emit('message', 1)
    }
  }
  for (const hound of hounds) {
    for (const namespace of ['/', '/chat']) {
      assert.deepEqual(await hound.sockets({ namespace }), { sockets: [], complete: true })
      assert.deepEqual(await hound.rooms(namespace), { rooms: [], complete: true })
      assert.equal(await hound.nodes(namespace), 4)
      const { acks, expected, complete, cluster } = await hound.emit({ rooms: [], namespace, event: 'question', args: [], ack_timeout: '4s' })
      assert.deepEqual([acks, expected, complete], [[], 0, true])
      assert.notEqual(cluster?.reached, false)
    }
  }
  allAlive(peers)
  await Promise.all(hounds.map(hound => hound.stop()))
  await assembled(server, 2)
  assert.deepEqual(await peers[0].io.fetchSockets(), [], 'a Greyhound that has left is still waited for')
})

test('Greyhounds among themselves tell where a message came from', async t => {
  const server = await redis(t)
  const [a, b] = await Promise.all([greyhound(t, server), greyhound(t, server)])
  const peer = await node(t, server, { namespaces: ['/', '/chat'] })
  await assembled(server, 3)
  const sockets = await Promise.all([a, b].map(hound => login(t, hound, 'rows')))

  const sent = await a.emit({ rooms: ['user(rows)'], event: 'message', args: ['by HTTP', { n: 1 }] })
  assert.equal(sent.cluster.reached, true)
  const own = await a.row('messaging.message', { seq: sent.seq })
  const theirs = await b.row('messaging.message', row => row.event === 'message' && row.source === 'greyhound')
  assert.deepEqual([own.source, own.origin ?? null, theirs.origin], ['http', null, sent.message])
  assert.match(sent.message, new RegExp(`:${sent.seq}$`))
  assert.deepEqual([theirs.rooms, theirs.recipients], [['user(rows)'], 1])

  for (const text of ['first', 'second']) await peer.io.to('user(rows)').emit('message', text)
  await allHave(sockets, 'second')
  const rows = await Promise.all([a, b].map(hound => until('both rows', async () => {
    const rows = (await hound.rows('messaging.message')).filter(row => row.source === 'node')
    return rows.length === 2 && rows
  })))
  const told = rows.map(rows => rows.map(row => [row.publisher, row.digest, row.rooms, row.event]))
  assert.deepEqual(told[0], told[1])
  const [[first], [second]] = told[0]
  assert.equal(first, second, 'one node is two publishers')
  assert.ok(Number.isInteger(told[0][0][1]))
  assert.notEqual(told[0][0][1], told[0][1][1], 'different messages have the same digest')
  assert.equal(await peer.io.of('/').adapter.uid, first)
  await Promise.all([a.stop(), b.stop()])
})

describe('socket.io 2 with socket.io-redis 5 and Greyhound', () => {
  const all = shared()
  let server, peer, other, hound, adapter
  before(async () => {
    server = await redis(all)
    ;[peer, other, hound] = await Promise.all([node(all, server, { version: 2 }), node(all, server, { version: 2 }), greyhound(all, server)])
    await assembled(server, 3)
    adapter = peer.io.of('/').adapter
  })
  after(() => all.end(async () => {
    allAlive([peer, other])
    await hound.stop()
  }))
  const pair = (t, user) => Promise.all([peer, other, hound].map(server => login(t, server, user, { generation: '2.5' })))

  test('with nobody connected Node\'s questions are answered', async () => {
    for (const path of ['/', '/chat']) {
      const { clients, allRooms, customRequest } = peer.io.of(path).adapter
      assert.deepEqual(await clients([], callback), [])
      assert.deepEqual(await clients(['a'], callback), [])
      assert.deepEqual(await allRooms(callback), [])
      assert.deepEqual((await customRequest({ n: 1 }, callback)).filter(Boolean).map(reply => reply.data), [{ n: 1 }, { n: 1 }])
    }
  })

  test('messages go both ways', async t => {
    const sockets = await pair(t, 'two')
    await peer.io.to('user(two)').emit('message', 'by Node', Buffer.from([1, 2]), new Date(0), undefined)
    await peer.io.to('user(two)').to('user(nobody)').emit('message', 'two rooms')
    await allHave(sockets, 'two rooms')
    assert.deepEqual(sockets[1].seen, [['message', 'by Node', Buffer.from([1, 2]), '1970-01-01T00:00:00.000Z', null], ['message', 'two rooms']])
    assert.deepEqual(sockets[2].seen, sockets[1].seen)
    await hound.emit({ rooms: ['user(two)'], event: 'message', args: ['by Greyhound', { n: [1] }] })
    await hound.emit({ rooms: ['user(two)', 'user(nobody)'], except: ['user(nobody)'], event: 'message', args: ['last'] })
    await allHave(sockets)
    for (const socket of sockets) assert.deepEqual(socket.seen.slice(2), [['message', 'by Greyhound', { n: [1] }], ['message', 'last']])
  })

  test('Node finds, moves and disconnects Greyhound\'s sockets', async t => {
    const [, , mine] = await pair(t, 'moved')
    assert.equal((await adapter.clients(['user(moved)'], callback)).length, 3)
    assert.ok((await adapter.clients(['user(moved)'], callback)).includes(mine.id))
    assert.ok((await adapter.allRooms(callback)).includes(mine.id))
    assert.ok((await adapter.clientRooms(mine.id, callback)).includes('user(moved)'))
    await adapter.remoteJoin(mine.id, 'a', callback)
    assert.deepEqual(await adapter.clients(['a'], callback), [mine.id])
    await peer.io.to('a').emit('message', 'joined')
    await allHave([mine], 'joined')
    await adapter.remoteLeave(mine.id, 'a', callback)
    assert.deepEqual(await adapter.clients(['a'], callback), [])
    const gone = next(mine, 'disconnect')
    await adapter.remoteDisconnect(mine.id, true, callback)
    await gone
    assert.equal((await adapter.clients(['user(moved)'], callback)).length, 2)
  })

  test('what Node of that age does not understand does it no harm', async t => {
    const sockets = await pair(t, 'hard')
    sockets.forEach(socket => socket.on('question', answer => answer('yes')))
    const { acks } = await hound.emit({ rooms: ['user(hard)'], event: 'question', args: [], ack_timeout: '500ms' })
    assert.ok(acks.includes('yes'), 'the own client is not asked')
    await hound.tell('join', { rooms: ['user(hard)'], targets: ['b'] })
    await hound.tell('leave', { rooms: ['user(hard)'], targets: ['b'] })
    const [found, { rooms }] = await Promise.all([hound.sockets({ room: 'user(hard)' }), hound.rooms()])
    assert.ok(found.sockets.some(socket => socket.id === sockets[2].id) && rooms.includes('user(hard)'))
    await hound.emit({ rooms: ['user(hard)'], event: 'message', args: ['last'] })
    await allHave(sockets)
    assert.equal((await adapter.clients([], callback)).length, 3)
  })
})

test('under traffic, Node is replaced by Greyhound one after the other, and no client that stays misses a message or gets one twice', async t => {
  const server = await redis(t)
  const namespaces = ['/']
  const publisher = await emitter(t, 'socket.io-emitter-5', server)
  let sent = 0
  let going = true
  const traffic = async () => {
    for (; going; sent++) {
      await publisher.io.to('user(rolling)').emit('message', sent)
      await new Promise(done => setTimeout(done, 1))
    }
  }
  /** From the first number that a socket saw on, it saw each once and in order, and in the end the last one. */
  const whole = (socket, last) => {
    const numbers = socket.seen.map(([, number]) => number)
    assert.deepEqual(numbers, Array.from({ length: last - numbers[0] + 1 }, (_, n) => numbers[0] + n))
  }
  const stay = server => Promise.all(['4.8', '2.5', '4.8'].map((generation, n) => login(t, server, 'rolling', { generation, way: n === 2 ? 'polling' : 'websocket' })))
  const passed = (sockets, from = sent) => until('traffic at all of them', () => sockets.every(socket => socket.seen.at(-1)?.[1] >= from + 50))

  const nodes = await Promise.all([node(t, server, { namespaces }), node(t, server, { namespaces })])
  await assembled(server, 2, { namespaces })
  const atFirst = [await stay(nodes[0]), await stay(nodes[1])]
  const running = traffic()
  await passed(atFirst.flat())

  const hounds = [await greyhound(t, server, { namespaces })]
  const atNew = [await stay(hounds[0])]
  await passed([...atFirst, ...atNew].flat())
  atFirst[1].forEach(socket => { socket.last = socket.seen.at(-1)[1]; socket.disconnect() })
  await nodes[1].kill()
  await passed([...atFirst[0], ...atNew[0]])
  assert.ok((await nodes[0].io.fetchSockets()).length >= 6)

  hounds.push(await greyhound(t, server, { namespaces, subscription: 'rooms' }))
  atNew.push(await stay(hounds[1]))
  await passed([atFirst[0], ...atNew].flat())
  atFirst[0].forEach(socket => { socket.last = socket.seen.at(-1)[1]; socket.disconnect() })
  await nodes[0].kill()
  await passed(atNew.flat())

  going = false
  await running
  await until('the last message', () => atNew.flat().every(socket => socket.seen.at(-1)[1] === sent - 1))
  for (const socket of atFirst.flat()) whole(socket, socket.last)
  for (const socket of atNew.flat()) whole(socket, sent - 1)
  await Promise.all(hounds.map(hound => hound.stop()))
})
