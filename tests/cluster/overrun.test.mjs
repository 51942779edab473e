// More comes from Redis than can be handled: what is lost is counted, and recorded with the time in which it was.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { until } from '../clients/greyhound.mjs'
import { assembled, greyhound } from './greyhound.mjs'
import { redis } from './redis.mjs'

const msgpack = createRequire(import.meta.url)('notepack.io')
const COUNT = 120_000

test('messages that come faster than they can be handled are counted, and a gap', async t => {
  const server = await redis(t, 'client-output-buffer-limit pubsub 0 0 0')
  // Data that is dear to record: it is read much faster than it is handled.
  const hound = await greyhound(t, server, { env: { PLUGINS__MESSAGING__RECORD_MESSAGE_DATA: 'true' } })
  await assembled(server, 1)
  const args = Array.from({ length: 4 }, (_, n) => ({ n, bytes: Buffer.alloc(8) }))
  const body = msgpack.encode(['emitter', { type: 2, data: ['flood', ...args], nsp: '/' }, { rooms: ['user(nobody)'], flags: {} }])

  hound.child.kill('SIGSTOP')
  const paused = Date.now()
  const client = server.connect()
  for (let sent = 0; sent < COUNT; sent += 10_000) await Promise.all(Array.from({ length: 10_000 }, () => client.call('PUBLISH', 'socket.io#/#', body)))
  hound.child.kill('SIGCONT')
  const resumed = Date.now()

  const received = () => hound.metric('greyhound_messaging_redis_received_total', 'kind="message"')
  const lost = () => hound.metric('greyhound_messaging_redis_lost_total')
  await until('all messages to be handled or lost', async () => await received() + await lost() === COUNT)
  assert.ok(await lost() > 0, 'nothing was lost: the flood is too small for this machine')
  const told = async () => (await hound.rows('greyhound.gap')).filter(gap => gap.reason === 'overrun')
  const gaps = await until('the gaps', async () => {
    const gaps = await told()
    return gaps.reduce((sum, gap) => sum + gap.row_count, 0) === await lost() && gaps
  })
  for (const gap of gaps) {
    assert.equal(gap.topic, 'messaging.message')
    assert.ok(Date.parse(gap.from_time) <= Date.parse(gap.to_time))
    assert.ok(Date.parse(gap.to_time) >= resumed)
  }
  assert.ok(Date.parse(gaps[0].from_time) <= paused, `${gaps[0].from_time}: the oldest that was lost was published before`)
  await hound.stop()
})
