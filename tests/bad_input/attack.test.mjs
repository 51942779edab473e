// A stranger sends what costs most to record, as fast as it can: users lose nothing, and the journal does not grow faster than it sends.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import WebSocket from 'ws'
import { start, until } from '../clients/greyhound.mjs'
import { login, next, push } from '../clients/sockets.mjs'

const ATTACK_MS = 5_000
const REFUSALS_MAX = 10
// Of which 512 bytes are recorded, in each row.
const AGENT = 'x'.repeat(14_000)
const GUESS = '42["authenticate",{"token":"stolen"}]'

/** Connects and guesses tokens, again and again until it is told to `end`; then how often it connected and how much it sent. */
function stranger({ url }) {
  let ending = false
  const told = { connections: 0, sent: 0 }
  const attempt = () => new Promise((done, fail) => {
    const socket = new WebSocket(`${url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`, { headers: { 'User-Agent': AGENT } })
    socket.on('upgrade', ({ socket: tcp }) => tcp.on('close', () => (told.sent += tcp.bytesWritten)))
    socket.on('open', () => socket.send('40'))
    socket.on('message', packet => {
      if (String(packet).startsWith('40')) for (let n = 0; n < 10 * REFUSALS_MAX; n++) socket.send(GUESS)
      // Out of the namespace: the server closes the connection a moment later.
      if (String(packet) === '41') socket.close()
    })
    socket.on('close', done)
    // A connection that the server resets.
    socket.on('error', error => (told.connections ? undefined : fail(error)))
  })
  const all = (async () => {
    for (; !ending; told.connections++) await attempt()
    return told
  })()
  return { end: () => ((ending = true), all) }
}

test('a stranger that guesses tokens with long headers, without a pause, takes nothing from users', async t => {
  const greyhound = await start(t, { env: { LOG__QUEUE: '1MiB' } })
  const [pusher, reader] = await Promise.all([login(t, greyhound, 'pusher'), login(t, greyhound, 'reader')])
  // What the journal has of clients' connections and tokens.
  const journal = async () => {
    const { topics } = await (await fetch(`${greyhound.admin}/v1/topics`)).json()
    return topics.filter(({ name }) => /^messaging\.(connection|auth)$/.test(name)).reduce((sum, { bytes }) => sum + bytes, 0)
  }
  const before = await journal()

  const attack = stranger(greyhound)
  const end = Date.now() + ATTACK_MS
  let count = 0
  for (; Date.now() < end; count++) {
    const message = next(reader, 'message')
    await Promise.all([push(pusher, 'order', count), greyhound.emit({ rooms: ['user(reader)'], event: 'message', args: [count] })])
    assert.deepEqual(await message, [count])
  }
  const { connections, sent } = await attack.end()
  const grown = await journal() - before
  assert.ok(grown < sent, `the journal grew by ${grown} bytes, the stranger sent ${sent}`)

  const rows = async (topic, wanted) => (await greyhound.rows(topic)).filter(wanted)
  const metrics = async () => (await fetch(`${greyhound.admin}/metrics`)).text()
  // All that the users did is recorded; what the queue had no room for was the stranger's.
  const numbers = Array.from({ length: count }, (_, n) => n)
  assert.deepEqual((await rows('messaging.push', row => row.user_id === 'pusher')).map(row => JSON.parse(row.data)[0]), numbers)
  assert.equal((await rows('messaging.delivery', row => row.user_id === 'reader' && row.outcome === 'queued')).length, count)
  const shed = [...(await metrics()).matchAll(/^greyhound_bus_shed_rows_total{.*topic="(.*?)".*} \d+$/gm)].map(([, topic]) => topic)
  const gaps = (await greyhound.rows('greyhound.gap')).map(row => row.topic)
  for (const topic of [...shed, ...gaps]) assert.match(topic, /^messaging\.(connection|auth)$/)

  // Its connections were closed after ten refusals each, as far as there are rows of it.
  await until('the users alone to be connected', async () => Number(/^greyhound_messaging_connections (\d+)/m.exec(await metrics())[1]) === 2)
  const refusals = new Map()
  for (const { connection_seq: connection } of await rows('messaging.auth', row => row.outcome === 'refused')) {
    refusals.set(connection, (refusals.get(connection) ?? 0) + 1)
  }
  assert.ok(connections > 1 && refusals.size > 1)
  assert.equal(Math.max(...refusals.values()), REFUSALS_MAX)
  const ends = await rows('messaging.connection', row => row.event === 'closed')
  assert.deepEqual([...new Set(ends.map(row => row.reason))], ['too many refusals'])
  await greyhound.stop()
})
