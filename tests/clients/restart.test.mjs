// A restart strands nobody: the server closes transports, never sockets, so that clients of every generation come back by themselves.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { start, until } from './greyhound.mjs'
import { open } from './polling.mjs'
import { connect, fence, login, next, ways } from './sockets.mjs'

test('clients of every generation come back by themselves after SIGTERM', async t => {
  const greyhound = await start(t)
  const sockets = await Promise.all(ways.map(async ({ generation, way }) => {
    const user = `${generation}-${way}`
    const options = { reconnection: true, reconnectionDelay: 100, reconnectionDelayMax: 500 }
    const socket = connect(t, greyhound.url, { generation, way, ...options })
    Object.assign(socket, { user, reasons: [], times: 0 })
    socket.on('disconnect', reason => socket.reasons.push(reason))
    socket.on('connect', () => socket.emit('authenticate', { token: greyhound.token(user) }))
    socket.on('authenticated', () => socket.times++)
    socket.on('message', () => (socket.got = true))
    await until(`${user} to be in`, () => socket.times === 1)
    if (way === 'upgrade') await until('the upgrade', () => socket.io.engine.transport.name === 'websocket')
    return socket
  }))
  await greyhound.stop()
  await until('all to see it', () => sockets.every(socket => socket.reasons.length > 0))
  for (const socket of sockets) assert.match(socket.reasons[0], /^transport (close|error)$/, socket.user)
  const rows = async () => (await greyhound.rows('messaging.connection')).filter(row => row.event === 'closed')
  await greyhound.start()
  assert.deepEqual([...new Set((await rows()).map(row => row.reason))], ['server shutting down'])
  await until(`all to be back`, () => sockets.every(socket => socket.times >= 2))
  await greyhound.emit({ rooms: [], event: 'message', args: [] })
  await until('all to get a message', () => sockets.every(socket => socket.got))
})

test('a client whose queue is full can still be disconnected, and is closed with its time to authenticate', async t => {
  const greyhound = await start(t, { env: { PLUGINS__MESSAGING__AUTH__TIMEOUT: '1s', PLUGINS__MESSAGING__BUFFER: '16', PLUGINS__MESSAGING__PING_INTERVAL: '1s', PLUGINS__MESSAGING__PING_TIMEOUT: '1s' } })
  // It never polls again: its queue stays full.
  const session = await (await open(greyhound)).login('full')
  await session.post(Array(200).fill('42["authenticate",{"token":"bad"}]').join('\x1e'))
  await greyhound.post('/v1/messaging/disconnect', { rooms: ['user(full)'] })
  await greyhound.row('messaging.connection', { event: 'closed', user_id: 'full' })
  assert.equal((await greyhound.emit({ rooms: ['user(full)'], event: 'message', args: [] })).recipients, 0)

  const stranger = await open(greyhound)
  await stranger.post('40')
  await until('it to be gone', async () => (await stranger.post('42["x"]')).status === 400)

  const sessions = async () => Number(/^greyhound_messaging_sessions (\d+)/m.exec(await (await fetch(`${greyhound.admin}/metrics`)).text())[1])
  await until('no connection to be open', async () => await sessions() === 0)
})

test('a WebSocket that does not authenticate is closed, although it answers pings', async t => {
  const greyhound = await start(t, { env: { PLUGINS__MESSAGING__AUTH__TIMEOUT: '500ms' } })
  for (const generation of ['2.5', '4.8']) {
    const socket = connect(t, greyhound.url, { generation })
    await next(socket, 'connect')
    await until('the end', () => socket.io.engine?.readyState === 'closed' || socket.io.readyState === 'closed' || socket.io._readyState === 'closed')
  }
})

test('before clients are let go, /readyz says so for a while', async t => {
  const greyhound = await start(t, { env: { HOST__DRAIN_WAIT: '5s' } })
  const socket = await login(t, greyhound, 'patient')
  const seen = []
  socket.on('disconnect', reason => seen.push(reason))
  greyhound.child.kill('SIGTERM')
  await until('503', async () => (await fetch(`${greyhound.admin}/readyz`)).status === 503)
  seen.push('503')
  await fence(greyhound, [socket])
  seen.push('a message')
  assert.deepEqual(await greyhound.exited, { code: 0, signal: null })
  await until('the end', () => seen.length > 2)
  assert.deepEqual(seen.slice(0, 2), ['503', 'a message'])
  assert.match(seen[2], /^transport/)
})

test('clients are let go one after the other, and the others go on', async t => {
  const greyhound = await start(t, { env: { PLUGINS__MESSAGING__DRAIN_SPREAD: '5s', HOST__SHUTDOWN_DEADLINE: '60s' } })
  const sockets = await Promise.all(Array.from({ length: 20 }, (_, n) => login(t, greyhound, `${n}`, n % 2 ? { way: 'polling' } : {})))
  const gone = new Set()
  for (const socket of sockets) socket.on('disconnect', reason => gone.add(socket) && assert.match(reason, /^transport/))
  assert.equal((await fetch(`${greyhound.admin}/v1/drain`, { method: 'POST' })).status, 202)

  await until('the first to be let go', () => gone.size > 0)
  const refused = await fetch(`${greyhound.url}/socket.io/?EIO=4&transport=polling`)
  assert.deepEqual([refused.status, refused.headers.get('connection'), await refused.text()], [503, 'close', 'the server is shutting down\n'])
  const last = sockets.filter(socket => !gone.has(socket)).slice(-4)
  assert.equal(last.length, 4, 'all were let go at once')
  await fence(greyhound, last)
  await until('the last to be let go', () => gone.size === sockets.length)
  assert.deepEqual(await greyhound.exited, { code: 0, signal: null })
})

test('after a request to drain, the first SIGTERM changes nothing and the second ends the process', async t => {
  const greyhound = await start(t, { env: { HOST__DRAIN_WAIT: '60s' } })
  await fetch(`${greyhound.admin}/v1/drain`, { method: 'POST' })
  await until('503', async () => (await fetch(`${greyhound.admin}/readyz`)).status === 503)
  greyhound.child.kill('SIGTERM')
  await until('the line', () => greyhound.output.includes('a second SIGTERM or SIGINT'))
  assert.equal((await fetch(`${greyhound.admin}/healthz`)).status, 200)
  greyhound.child.kill('SIGTERM')
  assert.deepEqual(await greyhound.exited, { code: 143, signal: null })
})
