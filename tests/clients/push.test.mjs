// What clients emit becomes rows of messaging.push, in order, and an ack means "on disk".
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { start, until } from './greyhound.mjs'
import { connect, fence, generations, login, next, push, transports } from './sockets.mjs'

describe('push', () => {
  let greyhound
  const cleanups = []
  before(async () => {
    // Bursts are not slowed.
    greyhound = await start({ after: f => cleanups.push(f) }, { env: { PLUGINS__MESSAGING__LIMITS__PACKETS: '100000' } })
  })
  after(async () => {
    await greyhound.stop()
    for (const cleanup of cleanups) await cleanup()
  })
  const pushesOf = async user => (await greyhound.rows('messaging.push')).filter(row => row.user_id === user)

  for (const generation of generations) {
    for (const way of Object.keys(transports)) {
      test(`1,000 events of a ${generation} client over ${way} keep their order`, async t => {
        const user = `order-${generation}-${way}`
        const socket = await login(t, greyhound, user, { generation, way })
        for (let n = 0; n < 999; n++) socket.emit('step', n)
        await push(socket, 'step', 999)
        const numbers = (await pushesOf(user)).map(row => JSON.parse(row.data)[0])
        assert.deepEqual(numbers, Array.from({ length: 1000 }, (_, n) => n))
      })
    }

    test(`an ack to a ${generation} client comes when the row is there`, async t => {
      const user = `ack-${generation}`
      const socket = await login(t, greyhound, user, { generation })
      for (let n = 0; n < 20; n++) {
        await push(socket, 'order', { n })
        assert.equal((await pushesOf(user)).length, n + 1)
      }
    })
  }

  test('a row tells who, where, what and how large', async t => {
    const socket = await login(t, greyhound, 'who')
    await push(socket, 'buy ž', 'one', { two: [2] }, null)
    const [row] = await pushesOf('who')
    assert.equal(row.event, 'buy ž')
    assert.equal(row.namespace, '/')
    assert.deepEqual(JSON.parse(row.data), ['one', { two: [2] }, null])
    assert.equal(row.size_bytes, Buffer.byteLength(JSON.stringify(['one', { two: [2] }, null])))
    const opened = (await greyhound.rows('messaging.connection')).find(one => one.seq === row.connection_seq)
    assert.equal(opened.event, 'opened')
  })

  for (const generation of ['2.5', '4.8']) {
    test(`binary of a ${generation} client is recorded as base64`, async t => {
      const user = `binary-${generation}`
      const socket = await login(t, greyhound, user, { generation })
      const bytes = Buffer.from([0, 1, 2, 253, 254, 255])
      await push(socket, 'photo', { name: 'x', bytes })
      const [row] = await pushesOf(user)
      assert.ok(row.data.includes(bytes.toString('base64')), row.data)
      assert.ok(row.size_bytes >= bytes.length)
    })
  }

  test('reserved event names are refused and leave no row', async t => {
    const socket = await login(t, greyhound, 'reserved')
    // The client library refuses to send them: write the packets by hand.
    for (const name of ['connect', 'connect_error', 'disconnect', 'disconnecting', 'newListener', 'removeListener']) {
      if (!socket.connected) break
      socket.io.engine.write(`2["${name}","x"]`)
    }
    if (socket.connected) await push(socket, 'ordinary').catch(() => {})
    const events = (await pushesOf('reserved')).map(row => row.event)
    assert.deepEqual(events.filter(event => event !== 'ordinary'), [])
    await fence(greyhound, [await login(t, greyhound, 'still served')])
  })

  for (const way of ['websocket', 'polling']) {
    test(`an event over max_payload closes the ${way} client and leaves no push row`, async t => {
      const user = `huge-${way}`
      const socket = await login(t, greyhound, user, { way })
      const gone = next(socket, 'disconnect')
      socket.emit('huge', 'x'.repeat(3_000_000))
      await gone
      await greyhound.row('messaging.connection', { event: 'closed', user_id: user })
      assert.deepEqual(await pushesOf(user), [])
    })
  }

  for (const [way, count] of [['websocket', 20_000], ['polling', 4_000]]) {
    test(`every push of a burst over ${way} is acknowledged`, async t => {
      const socket = await login(t, greyhound, `burst-${way}`, { way })
      let acks = 0
      for (let n = 0; n < count; n++) socket.emit('burst', n, () => acks++)
      await until(`${count} acks`, () => acks === count)
      assert.ok(socket.connected)
    })
  }

  test('many clients push at once and every event is there', async t => {
    const sockets = await Promise.all(Array.from({ length: 20 }, (_, n) => login(t, greyhound, `many-${n}`)))
    await Promise.all(sockets.flatMap(socket => Array.from({ length: 50 }, (_, n) => push(socket, 'all', n))))
    const rows = (await greyhound.rows('messaging.push')).filter(row => row.event === 'all')
    assert.equal(rows.length, 1000)
    assert.equal(new Set(rows.map(row => `${row.user_id} ${row.data}`)).size, 1000)
  })

  test('the ack of a client that disconnects at once is dropped, its row is not', async t => {
    const socket = await login(t, greyhound, 'hasty')
    socket.emit('bye', 1, () => {})
    socket.disconnect()
    await until('the row', async () => (await pushesOf('hasty')).length === 1)
  })
})
