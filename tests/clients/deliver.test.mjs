// A message reaches every socket in its rooms, nobody else, and is recorded.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { start } from './greyhound.mjs'
import { connect, fence, login, next, record, ways } from './sockets.mjs'

describe('deliver', () => {
  let greyhound
  const cleanups = []
  before(async () => {
    greyhound = await start({ after: f => cleanups.push(f) }, { env: { PLUGINS__MESSAGING__NAMESPACES: '["/", "/chat"]' } })
  })
  after(async () => {
    await greyhound.stop()
    for (const cleanup of cleanups) await cleanup()
  })

  for (const { generation, way } of ways) {
    test(`a message to a user arrives at each of the ${generation} devices over ${way}, and nowhere else`, async t => {
      const user = `to-${generation}-${way}`
      const [phone, laptop, stranger] = await Promise.all(
        [user, user, `${user}-not`].map(who => login(t, greyhound, who, { generation, way })))
      // A 1.x client decodes UTF-8 twice over polling, also from Node's servers since 2.0.
      const text = generation === '1.7' && way === 'polling' ? 'ASCII' : 'žluťoučký 🐎 \u2028'
      const args = ['hello', { n: 1, text }, null, [true, 1.5]]
      const answer = await greyhound.emit({ rooms: [`user(${user})`], event: 'message', args })
      assert.equal(answer.recipients, 2)
      await fence(greyhound, [phone, laptop, stranger])
      assert.deepEqual(phone.seen, [['message', ...args]])
      assert.deepEqual(laptop.seen, [['message', ...args]])
      assert.deepEqual(stranger.seen, [])

      const message = await greyhound.row('messaging.message', { seq: answer.seq })
      assert.deepEqual([message.rooms, message.event, message.recipients, message.source], [[`user(${user})`], 'message', 2, 'http'])
      const deliveries = (await greyhound.rows('messaging.delivery')).filter(row => row.message_seq === answer.seq)
      assert.deepEqual(deliveries.map(row => [row.user_id, row.outcome]), [[user, 'queued'], [user, 'queued']])
    })
  }

  test('`greyhound emit` publishes', async t => {
    const socket = await login(t, greyhound, 1)
    const done = await greyhound.cli('emit', '--room', 'user(1)', 'message', '"hello"')
    assert.equal(done.code, 0, done.stderr)
    await fence(greyhound, [socket])
    assert.deepEqual(socket.seen, [['message', 'hello']])
  })

  test('a numeric id in the token and a text are the same user', async t => {
    const sockets = [await login(t, greyhound, 77), await login(t, greyhound, '77')]
    assert.equal((await greyhound.emit({ rooms: ['user(77)'], event: 'message', args: [] })).recipients, 2)
    await fence(greyhound, sockets)
    assert.deepEqual(sockets.map(socket => socket.seen.length), [1, 1])
  })

  test('a socket in several of the rooms gets the message once, one in an excepted room does not', async t => {
    const [a, b] = [await login(t, greyhound, 'a'), await login(t, greyhound, 'b')]
    const rooms = ['user(a)', 'user(a)', 'user(b)', 'user(nobody)']
    assert.equal((await greyhound.emit({ rooms, event: 'message', args: [1] })).recipients, 2)
    assert.equal((await greyhound.emit({ rooms, except: ['user(b)'], event: 'message', args: [2] })).recipients, 1)
    await fence(greyhound, [a, b])
    assert.deepEqual(a.seen, [['message', 1], ['message', 2]])
    assert.deepEqual(b.seen, [['message', 1]])
  })

  test('a message to nobody is a row with no recipients', async () => {
    const { seq, recipients } = await greyhound.emit({ rooms: ['user(gone)'], event: 'message', args: ['?'] })
    assert.equal(recipients, 0)
    assert.equal((await greyhound.row('messaging.message', { seq })).recipients, 0)
  })

  test('who is not authenticated is in no audience', async t => {
    const guests = await Promise.all(['1.7', '4.8'].map(async generation => {
      const guest = connect(t, greyhound.url, { generation })
      await next(guest, 'connect')
      record(guest, 'message')
      return guest
    }))
    const member = await login(t, greyhound, 'no guest')
    const id = guests[1].id
    for (const rooms of [[], ['user(guest)', 'user()', 'user(undefined)'], [id]]) {
      const { recipients } = await greyhound.emit({ rooms, event: 'message', args: ['secret'] })
      assert.ok(rooms.length ? recipients === 0 : recipients >= 1)
    }
    const { sockets } = await fetch(`${greyhound.admin}/v1/messaging/sockets`).then(answer => answer.json())
    const { rooms } = await fetch(`${greyhound.admin}/v1/messaging/rooms`).then(answer => answer.json())
    assert.ok(sockets.some(socket => socket.user === 'no guest') && sockets.every(socket => socket.user), JSON.stringify(sockets))
    assert.ok(!rooms.includes(id))
    // What was sent to everybody is on its way for all: then it would have come before this.
    for (const guest of guests) {
      const accepted = next(guest, 'authenticated')
      guest.emit('authenticate', { token: greyhound.token('late') })
      await accepted
    }
    await fence(greyhound, [...guests, member])
    assert.deepEqual(guests.map(guest => guest.seen), [[], []])
  })

  test('how many sockets of the node were touched is answered; everybody is disconnected only if that is said', async t => {
    await Promise.all([1, 2].map(() => login(t, greyhound, 'touched')))
    const tell = (what, body) => greyhound.post(`/v1/messaging/${what}`, body)
    const done = count => ({ status: 200, json: { local_sockets: count, cluster: { reached: true } } })
    assert.deepEqual(await tell('join', { rooms: ['user(touched)'], targets: ['a', 'b'] }), done(2))
    assert.deepEqual(await tell('leave', { rooms: ['a'], targets: ['a'] }), done(2))
    assert.deepEqual(await tell('leave', { rooms: ['a'], targets: ['b'] }), done(0))
    for (const body of [{}, { except: ['user(touched)'] }, { everybody: false }, { rooms: ['b'], everybody: true }]) {
      const { status, json } = await tell('disconnect', body)
      assert.ok(status === 400 && json.error.includes('everybody'), JSON.stringify(json))
    }
    assert.deepEqual(await tell('disconnect', { rooms: ['b'] }), done(2))
    const all = await login(t, greyhound, 'in chat', { url: `${greyhound.url}/chat` })
    const gone = next(all, 'disconnect')
    assert.ok((await tell('disconnect', { everybody: true, namespace: '/chat' })).json.local_sockets >= 1)
    await gone
  })

  for (const generation of ['1.7', '2.5', '3.1', '4.8']) {
    test(`a namespace is a world of its own to a ${generation} client`, async t => {
      const user = `chat-${generation}`
      const chat = await login(t, greyhound, user, { generation, url: `${greyhound.url}/chat` })
      const main = await login(t, greyhound, user, { generation })
      await greyhound.emit({ rooms: [`user(${user})`], event: 'message', args: ['chat'], namespace: '/chat' })
      await greyhound.emit({ rooms: [`user(${user})`], event: 'message', args: ['main'] })
      await fence(greyhound, [chat], '/chat')
      await fence(greyhound, [main])
      assert.deepEqual(chat.seen, [['message', 'chat']])
      assert.deepEqual(main.seen, [['message', 'main']])
    })
  }

  test('a namespace that is not configured is refused', async t => {
    const socket = connect(t, `${greyhound.url}/secret`)
    await next(socket, 'connect_error')
  })

  test('messages to one client keep their order', async t => {
    const socket = await login(t, greyhound, 'ordered', { way: 'upgrade' })
    const all = Array.from({ length: 500 }, (_, n) => n)
    for (const n of all) await greyhound.emit({ rooms: ['user(ordered)'], event: 'message', args: [n], durable: false })
    await fence(greyhound, [socket])
    assert.deepEqual(socket.seen.map(([, n]) => n), all)
  })

  test('a device that left has a closed row and gets no more', async t => {
    const socket = await login(t, greyhound, 'leaver')
    socket.disconnect()
    const closed = await greyhound.row('messaging.connection', { event: 'closed', user_id: 'leaver' })
    assert.equal(closed.reason, 'client namespace disconnect')
    assert.ok(closed.duration_ms >= 0 && closed.received_bytes > 0 && closed.sent_bytes > 0)
    assert.equal((await greyhound.emit({ rooms: ['user(leaver)'], event: 'message', args: [] })).recipients, 0)
  })

  test('what cannot be published is refused with the field that is wrong', async () => {
    const good = { rooms: ['user(1)'], event: 'message', args: [1] }
    const bad = {
      rooms: [{ ...good, rooms: 'user(1)' }, { ...good, rooms: [1] }, { ...good, rooms: Array(10_000).fill(0).map((_, n) => `user(${n})`) }],
      event: [{ ...good, event: undefined }, { ...good, event: 7 }, { ...good, event: 'disconnect' }, { ...good, event: 'connect' }],
      args: [{ ...good, args: 'x' }],
      room: [{ ...good, room: 'typo' }],
    }
    for (const [field, bodies] of Object.entries(bad)) {
      for (const body of bodies) {
        const { status, json } = await greyhound.post('/v1/messaging/emit', body)
        assert.equal(status, 400, `${field}: ${JSON.stringify(json)}`)
        assert.match(json.error, new RegExp(field))
      }
    }
    assert.equal((await greyhound.post('/v1/messaging/emit', '{"rooms": [')).status, 400)
    assert.equal((await greyhound.post('/v1/messaging/emit', { ...good, namespace: '/nowhere' })).status, 404)
    const large = await greyhound.post('/v1/messaging/emit', { ...good, args: ['x'.repeat(2_000_000)] })
    assert.equal(large.status, 413)
    assert.match(large.json.error, /max_payload/)
    await greyhound.emit(good)
  })
})

test('guests may be let into the audience', async t => {
  const greyhound = await start(t, { env: { PLUGINS__MESSAGING__AUTH__GUESTS: 'true' } })
  const guest = connect(t, greyhound.url)
  await next(guest, 'connect')
  record(guest, 'message')
  assert.equal((await greyhound.emit({ rooms: [], event: 'message', args: ['all'] })).recipients, 1)
  await fence(greyhound, [guest])
  assert.deepEqual(guest.seen, [['message', 'all']])
  await greyhound.stop()
})
