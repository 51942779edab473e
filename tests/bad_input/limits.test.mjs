// Clients at the limits: each is told, the others are not affected, and it is served again once there is room.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import WebSocket from 'ws'
import { start, until } from '../clients/greyhound.mjs'
import { open } from '../clients/polling.mjs'
import { connect, login, next, push } from '../clients/sockets.mjs'

/** A Greyhound with these limits. It believes this machine about the addresses of clients. */
const limited = (t, limits, env = {}) => start(t, {
  env: {
    PLUGINS__MESSAGING__TRUSTED_PROXIES: '["127.0.0.1"]',
    ...Object.fromEntries(Object.entries(limits).map(([key, value]) => [`PLUGINS__MESSAGING__LIMITS__${key.toUpperCase()}`, `${value}`])),
    ...env,
  },
})

/** The answer to a handshake of a client at `address`, over polling. */
const handshake = ({ url }, address) => fetch(`${url}/socket.io/?EIO=4&transport=polling`, { headers: { 'x-forwarded-for': address } })

const metric = async ({ admin }, name, labels = '') => {
  const text = await (await fetch(`${admin}/metrics`)).text()
  return Number(text.split('\n').find(line => line.startsWith(`greyhound_messaging_${name}${labels} `))?.split(' ')[1] ?? 0)
}

/** A WebSocket by hand, authenticated. */
async function raw(t, greyhound, user) {
  const socket = new WebSocket(`${greyhound.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`)
  t.after(() => socket.terminate())
  socket.texts = []
  socket.closed = new Promise(done => socket.on('close', done))
  socket.on('message', data => (`${data}` === '2' ? socket.send('3') : socket.texts.push(`${data}`.trimEnd())))
  socket.on('error', () => {})
  await until('the open packet', () => socket.texts[0]?.startsWith('0'))
  socket.send(`40${JSON.stringify({ token: greyhound.token(user) })}`)
  await until('authenticated', () => socket.texts.includes('42["authenticated"]'))
  return socket
}

const pushesOf = async (greyhound, user) => (await greyhound.rows('messaging.push')).filter(row => row.user_id === user).map(row => JSON.parse(row.data)[0])
const upTo = count => Array.from({ length: count }, (_, n) => n)

test('connections of an address, of its network and of the node are limited', async t => {
  const greyhound = await limited(t, { connections: 5, connections_per_address: 2, connections_per_network: 3, handshakes: 1000 }, { PLUGINS__MESSAGING__AUTH__TIMEOUT: '1s' })
  const status = async address => (await handshake(greyhound, address)).status
  assert.deepEqual([await status('192.0.2.1'), await status('192.0.2.1')], [200, 200])
  const refused = await handshake(greyhound, '192.0.2.1')
  assert.deepEqual([refused.status, refused.headers.get('retry-after')], [429, '5'])
  const websocket = new WebSocket(`${greyhound.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`, { headers: { 'x-forwarded-for': '192.0.2.1' } })
  websocket.on('error', () => {})
  assert.equal((await next(websocket, 'unexpected-response'))[1].statusCode, 429)
  assert.deepEqual([await status('192.0.2.2'), await status('192.0.2.3')], [200, 429], 'a network of three')
  assert.deepEqual([await status('2001:db8::1'), await status('2001:db8::2')], [200, 200])
  assert.equal(await status('2001:db8::3'), 429, 'a /64 counts as one address')
  const full = await handshake(greyhound, '198.51.100.1')
  assert.deepEqual([full.status, full.headers.get('retry-after')], [503, '5'])
  for (const [limit, count] of [['connections_per_address', 3], ['connections_per_network', 1], ['connections', 1]]) {
    assert.equal(await metric(greyhound, 'refused_sessions_total', `{limit="${limit}"}`), count, limit)
  }
  // They do not authenticate, and are disconnected.
  await until('room for others', async () => await status('192.0.2.1') === 200)
  await greyhound.stop()
})

test('handshakes of an address are limited, those of others are not', async t => {
  const greyhound = await limited(t, { connections_per_address: 3, handshakes: 1 })
  const [first] = await Promise.all(['192.0.2.1', '192.0.2.1', '192.0.2.1'].map(address => handshake(greyhound, address)))
  assert.equal(first.status, 200)
  const refused = await handshake(greyhound, '192.0.2.1')
  assert.deepEqual([refused.status, refused.headers.get('retry-after')], [429, '1'])
  assert.equal((await handshake(greyhound, '192.0.2.2')).status, 200)
  await until('another handshake', async () => (await handshake(greyhound, '192.0.2.1')).status === 200)
  assert.ok(await metric(greyhound, 'refused_sessions_total', '{limit="handshakes"}') >= 1)
  await greyhound.stop()
})

test('a user has a limited number of sockets, and is told why another is refused', async t => {
  const greyhound = await limited(t, { sockets_per_user: 2 })
  const [first] = await Promise.all([login(t, greyhound, 'busy'), login(t, greyhound, 'busy')])
  const third = connect(t, greyhound.url)
  const unauthorized = next(third, 'unauthorized')
  third.emit('authenticate', { token: greyhound.token('busy') })
  const [why] = await unauthorized
  assert.deepEqual([why.message, why.data.code], ['too many connections of this user', 'too_many_connections'])
  const [error] = await next(connect(t, greyhound.url, { auth: { token: greyhound.token('busy') } }), 'connect_error')
  assert.deepEqual([error.message, error.data.code], ['too many connections of this user', 'too_many_connections'])
  await greyhound.row('messaging.auth', { outcome: 'refused', reason: 'too many connections of this user' })

  // It may authenticate again on a socket that it has, and another user has room of its own.
  const again = next(first, 'authenticated')
  first.emit('authenticate', { token: greyhound.token('busy') })
  await again
  await login(t, greyhound, 'other')
  first.disconnect()
  await until('room for another', () => login(t, greyhound, 'busy').then(() => true, () => false))
  await greyhound.stop()
})

test('a client that floods is slowed and closed; another is served completely and in order', async t => {
  const greyhound = await limited(t, { packets: 100 }, { PLUGINS__MESSAGING__PING_TIMEOUT: '2s' })
  const [flooder, bystander] = await Promise.all([raw(t, greyhound, 'flooder'), login(t, greyhound, 'bystander')])
  let gone = false
  flooder.closed.then(() => (gone = true))
  for (let n = 0; n < 50_000; n++) flooder.send(`42["flood",${n}]`)
  let count = 0
  for (; !gone; count++) {
    const message = next(bystander, 'message')
    await Promise.all([push(bystander, 'order', count), greyhound.emit({ rooms: ['user(bystander)'], event: 'message', args: [count] })])
    assert.deepEqual(await message, [count])
  }
  await greyhound.row('messaging.connection', { event: 'closed', user_id: 'flooder', reason: 'flooding' })
  const flood = await pushesOf(greyhound, 'flooder')
  // What it may save up in 10 s, and a little more.
  assert.ok(flood.length >= 1000 && flood.length < 5000, `${flood.length}`)
  assert.deepEqual(flood, upTo(flood.length))
  assert.deepEqual(await pushesOf(greyhound, 'bystander'), upTo(count))
  assert.equal(await metric(greyhound, 'slowed_clients_total', '{limit="client"}'), 1)
  await push(await login(t, greyhound, 'flooder'), 'order', -1)
  await greyhound.stop()
})

test('a client that sends too much for a while is slowed and loses nothing', async t => {
  const greyhound = await limited(t, { packets: 50, bytes: '20kB' })
  const burst = async (user, count, size) => {
    const socket = await login(t, greyhound, user)
    for (let n = 0; n < count; n++) socket.emit('burst', n, 'x'.repeat(size))
    await push(socket, 'burst', count)
  }
  const posts = async (user, count) => {
    const session = await (await open(greyhound)).login(user)
    assert.equal((await session.post(upTo(count + 1).map(n => `42["burst",${n}]`).join('\x1e'))).status, 200)
  }
  const counts = { packets: 600, bytes: 24, polling: 600 }
  await Promise.all([burst('packets', counts.packets, 0), burst('bytes', counts.bytes, 10_000), posts('polling', counts.polling)])
  for (const [user, count] of Object.entries(counts)) {
    await until(`all of ${user}`, async () => (await pushesOf(greyhound, user)).length > count)
    assert.deepEqual(await pushesOf(greyhound, user), upTo(count + 1))
  }
  assert.equal(await metric(greyhound, 'slowed_clients_total', '{limit="client"}'), 3)
  assert.ok((await greyhound.rows('messaging.connection')).every(row => row.event === 'opened'))
  await greyhound.stop()
})

test('the largest message is the same over polling and over WebSocket', async t => {
  const greyhound = await limited(t, {}, { PLUGINS__MESSAGING__MAX_PAYLOAD: '10kB' })
  const packet = (event, len) => `42["${event}","${'x'.repeat(len - event.length - 9)}"]`
  assert.equal(packet('largest', 10_000).length, 10_000)
  const [polling, websocket] = await Promise.all([open(greyhound).then(session => session.login('polling')), raw(t, greyhound, 'websocket')])
  assert.equal((await polling.post(packet('largest', 10_000))).status, 200)
  websocket.send(packet('largest', 10_000))
  for (const user of ['polling', 'websocket']) await greyhound.row('messaging.push', { user_id: user, event: 'largest' })
  assert.equal((await polling.post(packet('larger', 10_001))).status, 413)
  websocket.send(packet('larger', 10_001))
  await websocket.closed
  assert.ok((await greyhound.rows('messaging.push')).every(row => row.event === 'largest'))
  await greyhound.stop()
})

const outcomes = async (greyhound, user) => (await greyhound.rows('messaging.delivery')).filter(row => row.user_id === user).map(row => row.outcome)

test('the bytes that wait for one client are limited', async t => {
  const greyhound = await limited(t, { queue: '100kB' })
  const session = await (await open(greyhound)).login('away')
  const emit = size => greyhound.emit({ rooms: ['user(away)'], event: 'message', args: ['x'.repeat(size)] })
  // The first goes through the library.
  await emit(1)
  await session.until(packet => packet.startsWith('42["message"'))
  for (const size of [60_000, 60_000]) await emit(size)
  await greyhound.row('messaging.connection', { event: 'closed', user_id: 'away', reason: 'slow client' })
  assert.deepEqual(await outcomes(greyhound, 'away'), ['queued', 'queued', 'dropped', 'unsent'])
  // One message of any size may wait.
  const again = await (await open(greyhound)).login('away')
  await emit(150_000)
  await again.until(packet => packet.length > 150_000)
  await greyhound.stop()
})

test('if all that waits takes too much memory, the client with the longest queue is closed', async t => {
  const greyhound = await limited(t, { queue: '2MB', queues: '2MB' })
  const users = ['most', 'less', 'last']
  const sessions = await Promise.all(users.map(async user => (await open(greyhound)).login(user)))
  const emit = (rooms, size) => greyhound.emit({ rooms: rooms.map(user => `user(${user})`), event: 'message', args: ['x'.repeat(size)] })
  await emit(users, 1)
  await Promise.all(sessions.map(session => session.until(packet => packet.startsWith('42["message"'))))
  // What several queues share counts once.
  for (let n = 0; n < 5; n++) await emit(users, 100_000)
  for (let n = 0; n < 8; n++) await emit(['most'], 100_000)
  assert.ok(await metric(greyhound, 'queue_bytes') < 1_400_000)
  for (let n = 0; n < 4; n++) await emit(['less', 'last'], 90_000)
  await emit(['last'], 100_000)
  await emit(['less'], 300_000)
  await greyhound.row('messaging.connection', { event: 'closed', user_id: 'most', reason: 'slow client' })
  assert.equal(await metric(greyhound, 'evicted_clients_total'), 1)
  for (const [user, session] of [['less', sessions[1]], ['last', sessions[2]]]) {
    const { text } = await session.poll()
    assert.ok(text.length > 800_000, `${user}: ${text.length}`)
  }
  await until('free memory', async () => await metric(greyhound, 'queue_bytes') === 0)
  await greyhound.stop()
})
