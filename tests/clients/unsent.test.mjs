// `queued` with nothing after it means that the kernel, or a poll, had the message: what was thrown away is `unsent`.
import assert from 'node:assert/strict'
import { connect as dial } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { start, until } from './greyhound.mjs'
import { open } from './polling.mjs'
import { login } from './sockets.mjs'

describe('unsent', () => {
  let greyhound
  const cleanups = []
  before(async () => {
    greyhound = await start({ after: f => cleanups.push(f) }, { env: { PLUGINS__MESSAGING__WRITE_TIMEOUT: '1s', PLUGINS__MESSAGING__PING_INTERVAL: '1s', PLUGINS__MESSAGING__PING_TIMEOUT: '2s' } })
  })
  after(async () => {
    await greyhound.stop()
    for (const cleanup of cleanups) await cleanup()
  })

  /** By message: its furthest outcome for `user`. */
  async function outcomes(user) {
    const rows = (await greyhound.rows('messaging.delivery')).filter(row => row.user_id === user)
    const furthest = new Map()
    for (const { message_seq: message, outcome } of rows) furthest.set(message, outcome)
    const count = outcome => [...furthest.values()].filter(it => it === outcome).length
    return { all: furthest.size, queued: count('queued'), unsent: count('unsent'), dropped: count('dropped') }
  }

  const emit = (user, arg) => greyhound.emit({ rooms: [`user(${user})`], event: 'message', args: [arg], durable: false })
  const closed = user => greyhound.row('messaging.connection', { event: 'closed', user_id: user })

  test('a WebSocket that is not read: what is told and did not arrive is in the kernel at most', async () => {
    const socket = dial({ port: greyhound.port, host: '127.0.0.1' })
    let text = ''
    socket.on('data', data => (text += data.toString('latin1'))).on('error', () => {})
    socket.write('GET /socket.io/?EIO=3&transport=websocket HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n'
      + `Authorization: Bearer ${greyhound.token('stopped')}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n`)
    await until('authenticated', () => text.includes('authenticated'))
    socket.pause()
    const size = 50_000
    for (let n = 0; n < 300; n++) await emit('stopped', 'x'.repeat(size))
    assert.equal((await closed('stopped')).reason, 'slow client')
    const before = text.length
    socket.resume()
    await new Promise(done => socket.on('close', done))
    const received = text.slice(before).split('x"]').length - 1
    const { all, queued, unsent, dropped } = await outcomes('stopped')
    assert.equal(all, queued + unsent + dropped)
    assert.ok(unsent > 0, 'some waited')
    // What was handed to the kernel may be lost with the connection: its buffers hold some megabytes.
    assert.ok(queued >= received && (queued - received) * size < 12_000_000, `${queued} told, ${received} received, ${unsent} unsent`)
  })

  test('a client that never polls is told nothing', async () => {
    await (await open(greyhound)).login('silent')
    for (let n = 0; n < 100; n++) await emit('silent', n)
    await closed('silent')
    assert.deepEqual(await outcomes('silent'), { all: 100, queued: 0, unsent: 100, dropped: 0 })
  })

  test('a client that goes away between two polls was told what it took', async () => {
    const session = await (await open(greyhound)).login('leaver')
    for (let n = 0; n < 3; n++) await emit('leaver', n)
    await session.until(packet => packet === '42["message",2]')
    for (let n = 3; n < 10; n++) await emit('leaver', n)
    await session.post('1')
    await closed('leaver')
    assert.deepEqual(await outcomes('leaver'), { all: 10, queued: 3, unsent: 7, dropped: 0 })
  })

  test('what waits when a client upgrades goes over its WebSocket', async t => {
    for (const generation of ['2.5', '4.8']) {
      const user = `upgrading-${generation}`
      const socket = await login(t, greyhound, user, { generation, way: 'polling' })
      socket.disconnect()
      const going = login(t, greyhound, user, { generation, way: 'upgrade' })
      let sent = 0
      let over = false
      going.then(() => (over = true), () => (over = true))
      while (!over || sent < 50) { await emit(user, sent++) }
      const upgraded = await going
      await emit(user, 'last')
      await until('the last message', () => upgraded.seen.at(-1)?.[1] === 'last')
      const { unsent, dropped } = await outcomes(user)
      assert.deepEqual({ unsent, dropped }, { unsent: 0, dropped: 0 })
    }
  })
})

test('what waits when the server stops is sent, or told as unsent; after SIGKILL a gap says that nobody knows', async t => {
  const greyhound = await start(t)
  const session = await (await open(greyhound)).login('last')
  const emit = n => greyhound.emit({ rooms: ['user(last)'], event: 'message', args: [n] })
  for (let n = 0; n < 10; n++) await emit(n)
  await greyhound.stop()
  await greyhound.start()
  const rows = (await greyhound.rows('messaging.delivery')).filter(row => row.user_id === 'last')
  assert.deepEqual([rows.filter(row => row.outcome === 'queued').length, rows.filter(row => row.outcome === 'unsent').length], [10, 10])
  assert.equal((await session.poll()).status, 400)
  await greyhound.restart()
  await greyhound.row('greyhound.gap', { reason: 'unclean_stop' })
})
