// Rows that are published over HTTP: who may, and what a table cannot hold.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { start, until } from '../clients/greyhound.mjs'

const OPEN = JSON.stringify(['messaging.connection', 'messaging.delivery', 'messaging.message'])

describe('rows that are published over HTTP', () => {
  let greyhound
  // With topics that the operator opened.
  let open
  const cleanups = []
  before(async () => {
    const context = { after: f => cleanups.push(f) };
    [greyhound, open] = await Promise.all([start(context), start(context, { env: { ADMIN__OPEN_TOPICS: OPEN } })])
  })
  after(async () => {
    for (const one of [greyhound, open]) {
      await one.stop()
      assert.ok(!one.output.includes('panicked'), one.output)
    }
    for (const one of cleanups) await one()
  })

  test('a list of rows is taken whole or not at all', async () => {
    const row = { topic: null, first_seq: null, last_seq: null, row_count: null, reason: 'forged', from_time: 0, to_time: 0 }
    assert.equal((await greyhound.post('/v1/topics/greyhound.gap', [row])).status, 403)
    assert.equal((await greyhound.post('/v1/topics/greyhound.sink', [])).status, 403)
    const message = { source: 'test', publisher: null, namespace: '/', rooms: [], excluded: [], event: 'listed', size_bytes: 2, recipients: 0, data: null }
    const refused = await open.post('/v1/topics/messaging.message', [message, { ...message, size_bytes: 'large' }])
    assert.equal(refused.status, 400)
    assert.match(refused.json.error, /messaging\.message/)
    const taken = await open.post('/v1/topics/messaging.message', [message, message])
    assert.equal(taken.json.seq.length, 2)
    assert.equal((await open.rows('messaging.message')).filter(one => one.event === 'listed').length, 2)
  })

  const delivery = { message_seq: 0, connection_seq: 0, user_id: '1', outcome: 'acked', latency_us: 5 }

  test('nobody but a topic\'s plugin publishes to it, unless it is opened', async () => {
    const { status, json } = await greyhound.post('/v1/topics/messaging.delivery', [delivery])
    assert.equal(status, 403)
    assert.match(json.error, /messaging\.delivery.*TopicSchema::open.*admin\.open_topics/)
    assert.deepEqual((await greyhound.rows('messaging.delivery')).filter(row => row.outcome === 'acked'), [])
  })

  test('the symbols of an enum are taken by name, and what no table holds is refused with row and column', async () => {
    const publish = change => open.post('/v1/topics/messaging.delivery', [delivery, { ...delivery, ...change }])
    assert.equal((await publish({ outcome: 'unsent' })).status, 200)
    assert.equal((await publish({ outcome: 1 })).status, 200)
    assert.deepEqual((await open.rows('messaging.delivery')).map(row => row.outcome), ['acked', 'unsent', 'acked', 'dropped'])
    for (const [change, why] of [
      [{ outcome: 9 }, /row 1 .*column `outcome`: 9 is not the index of a symbol; expected one of `queued` \(0\)/],
      [{ outcome: -1 }, /column `outcome`: -1/],
      [{ outcome: 'lost' }, /row 1, column `outcome`: `lost` is not one of queued, dropped/],
      [{ outcome: null }, /outcome/],
      [{ outcom: 1 }, /row 1: unknown column `outcom`; expected message_seq/],
      [{ latency_us: 2 ** 40 }, /latency_us|i32/],
    ]) {
      const { status, json } = await publish(change)
      assert.equal(status, 400, JSON.stringify(change))
      assert.match(json.error, why)
    }
    const event = { event: 9, connection_seq: null, namespace: '/', transport: 'polling', protocol: 4 }
    assert.equal((await open.post('/v1/topics/messaging.connection', [event])).status, 400)
    // The table goes on.
    const end = (await open.rows('messaging.delivery')).length
    const position = async () => {
      const { topics } = await (await fetch(`${open.admin}/v1/topics`)).json()
      return topics.find(topic => topic.name === 'messaging.delivery').consumers.find(it => it.name === 'activity').position
    }
    await until('the rows to be in the table', async () => await position() === end)
  })
})
