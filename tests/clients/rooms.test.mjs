// Rooms that a token names, and rooms that clients ask for with `join` and `leave`.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { start } from './greyhound.mjs'
import { connect, fence, login, next, push, ways } from './sockets.mjs'

const ok = [{ ok: true }]
const refused = error => [{ ok: false, error }]

/** Authenticates a socket anew. */
async function again(greyhound, socket, user, claims) {
  const accepted = next(socket, 'authenticated')
  socket.emit('authenticate', { token: greyhound.token(user, claims) })
  await accepted
}

/** The rooms of the user's only socket. */
const roomsOf = async (greyhound, user) => {
  const { sockets } = await fetch(`${greyhound.admin}/v1/messaging/sockets?room=user(${user})`).then(answer => answer.json())
  return sockets[0].rooms.slice(1).sort()
}

const recipients = async (greyhound, room, ...args) => (await greyhound.emit({ rooms: [room], event: 'message', args })).recipients

const memberships = async (greyhound, user) =>
  (await greyhound.rows('messaging.membership')).filter(row => row.user_id === user).map(row => [row.event, row.room, row.cause])

describe('rooms', () => {
  let greyhound
  const cleanups = []
  before(async () => {
    greyhound = await start({ after: f => cleanups.push(f) }, { env: { PLUGINS__MESSAGING__MAX_ROOMS: '6' } })
  })
  after(async () => {
    await greyhound.stop()
    for (const cleanup of cleanups) await cleanup()
  })

  for (const { generation, way } of ways) {
    test(`a ${generation} client over ${way} is in the rooms of its token, and joins and leaves those that it allows`, async t => {
      const user = `ask-${generation}-${way}`, [claimed, asked] = [`claimed(${user})`, `team(${user})`]
      const socket = await login(t, greyhound, user, { generation, way, claims: { rooms: [claimed], join: ['team(*)'] } })
      assert.equal(await recipients(greyhound, claimed, 1), 1)
      assert.deepEqual(await push(socket, 'join', asked), ok)
      assert.equal(await recipients(greyhound, asked, 2), 1)
      assert.deepEqual(await push(socket, 'join', asked), ok)
      assert.deepEqual(await roomsOf(greyhound, user), [claimed, asked, `user(${user})`].sort())
      assert.deepEqual(await push(socket, 'leave', asked), ok)
      assert.deepEqual(await push(socket, 'leave', asked), ok)
      assert.equal(await recipients(greyhound, asked, 3), 0)
      await fence(greyhound, [socket])
      assert.deepEqual(socket.seen, [['message', 1], ['message', 2]])
      await greyhound.row('messaging.membership', { user_id: user, event: 'left' })
      assert.deepEqual(await memberships(greyhound, user), [
        ['joined', claimed, 'authentication'], ['joined', asked, 'client'], ['left', asked, 'client'],
      ])
    })
  }

  test('nothing else', async t => {
    const socket = await login(t, greyhound, 'curious', { claims: { rooms: ['claimed'], join: ['team(*)', 'lobby'] } })
    const other = await login(t, greyhound, 'other')
    const cases = ['team()', 'steam(7)', 'team(7', 'user(other)', 'user(curious)', 'site(example.com)', other.id, socket.id, '', 'claimed', 'x'.repeat(1000)]
    for (const room of cases) {
      for (const event of ['join', 'leave']) assert.deepEqual(await push(socket, event, room), refused('not allowed'), `${event} ${room}`)
    }
    for (const args of [[], [7], [null], [['lobby']], [{ room: 'lobby' }]]) {
      assert.deepEqual(await push(socket, 'join', ...args), refused('not the name of a room'))
    }
    assert.deepEqual(await roomsOf(greyhound, 'curious'), ['claimed', 'user(curious)'])
    const row = await greyhound.row('messaging.membership', { user_id: 'curious', room: 'user(other)' })
    assert.deepEqual([row.event, row.cause, row.reason], ['refused', 'client', 'not allowed'])
    assert.equal((await greyhound.row('messaging.membership', row => row.user_id === 'curious' && row.room.startsWith('xx'))).room.length, 128)
    assert.deepEqual((await greyhound.rows('messaging.push')).filter(row => row.user_id === 'curious'), [])
  })

  test('no more than `max_rooms`', async t => {
    const socket = await login(t, greyhound, 'greedy', { claims: { join: ['team(*)'] } })
    const answers = []
    for (let n = 0; n < 7; n++) answers.push((await push(socket, 'join', `team(${n})`))[0])
    assert.deepEqual(answers, [...Array(5).fill(ok), ...Array(2).fill(refused('too many rooms'))].flat())
    await push(socket, 'leave', 'team(0)')
    assert.deepEqual(await push(socket, 'join', 'team(6)'), ok)
  })

  test('events are handled in the order in which the client emits them', async t => {
    const socket = await login(t, greyhound, 'orderly', { claims: { join: ['team(*)'] } })
    const acks = []
    for (let n = 0; n < 50; n++) {
      socket.emit('join', 'team(orderly)', () => acks.push('join'))
      socket.emit('note', n, () => acks.push(n))
      socket.emit('leave', 'team(orderly)', () => acks.push('leave'))
    }
    await push(socket, 'end')
    assert.deepEqual(acks, Array.from({ length: 50 }, (_, n) => ['join', n, 'leave']).flat())
    assert.equal(await recipients(greyhound, 'team(orderly)'), 0)
  })

  test('without a pattern, `join` and `leave` are pushes', async t => {
    const socket = await login(t, greyhound, 'ordinary', { claims: { rooms: ['claimed'] } })
    for (const event of ['join', 'leave']) {
      assert.deepEqual(await push(socket, event, 'claimed'), [])
      assert.equal((await greyhound.row('messaging.push', { user_id: 'ordinary', event })).data, '["claimed"]')
    }
    assert.deepEqual(await roomsOf(greyhound, 'ordinary'), ['claimed', 'user(ordinary)'])
  })

  test('another user keeps no room', async t => {
    const socket = await login(t, greyhound, 'before', { claims: { rooms: ['old claim'], join: ['team(*)'] } })
    await push(socket, 'join', 'team(1)')
    await greyhound.post('/v1/messaging/join', { rooms: ['user(before)'], targets: ['from the server'] })
    await again(greyhound, socket, 'after', { rooms: ['new claim'] })
    assert.deepEqual(await roomsOf(greyhound, 'after'), ['new claim', 'user(after)'])
    await greyhound.row('messaging.membership', { user_id: 'after', room: 'new claim' })
    const left = (await memberships(greyhound, 'before')).filter(([event]) => event === 'left')
    assert.deepEqual(left.sort(), ['from the server', 'old claim', 'team(1)'].map(room => ['left', room, 'authentication']))
    // Its token has no `join`.
    assert.deepEqual(await push(socket, 'join', 'team(1)'), [])
  })

  test('the same user keeps the rooms that the new token allows, and those of the server', async t => {
    const socket = await login(t, greyhound, 'same', { claims: { rooms: ['claim 1', 'both'], join: ['team(*)', 'chat(*)'] } })
    for (const room of ['team(1)', 'chat(1)']) await push(socket, 'join', room)
    await greyhound.post('/v1/messaging/join', { rooms: ['user(same)'], targets: ['from the server', 'claim 1'] })
    await again(greyhound, socket, 'same', { rooms: ['claim 2', 'both'], join: ['chat(*)'] })
    assert.deepEqual(await roomsOf(greyhound, 'same'), ['both', 'chat(1)', 'claim 1', 'claim 2', 'from the server', 'user(same)'])
    assert.deepEqual(await push(socket, 'join', 'team(1)'), refused('not allowed'))
    await again(greyhound, socket, 'same')
    assert.deepEqual(await roomsOf(greyhound, 'same'), ['claim 1', 'from the server', 'user(same)'])
  })

  test('a server may end what a client asked for, and the other way round', async t => {
    const socket = await login(t, greyhound, 'both ways', { claims: { join: ['team(*)'] } })
    await push(socket, 'join', 'team(asked)')
    await greyhound.post('/v1/messaging/leave', { rooms: ['user(both ways)'], targets: ['team(asked)'] })
    await greyhound.post('/v1/messaging/join', { rooms: ['user(both ways)'], targets: ['team(told)'] })
    await push(socket, 'leave', 'team(told)')
    assert.deepEqual(await roomsOf(greyhound, 'both ways'), ['user(both ways)'])
    await greyhound.row('messaging.membership', { user_id: 'both ways', event: 'left', cause: 'client' })
    assert.deepEqual(await memberships(greyhound, 'both ways'), [
      ['joined', 'team(asked)', 'client'], ['left', 'team(asked)', 'server'], ['joined', 'team(told)', 'server'], ['left', 'team(told)', 'client'],
    ])
  })

  for (const claims of [{ rooms: 'team(7)' }, { rooms: ['user(2)'] }, { rooms: ['site(example.com)'] }, { rooms: [7] }, { join: ['*'] }, { join: ['user(*)'] }]) {
    test(`a token with ${JSON.stringify(claims)} is refused`, async t => {
      const socket = connect(t, greyhound.url)
      const unauthorized = next(socket, 'unauthorized')
      socket.emit('authenticate', { token: greyhound.token(`wrong ${JSON.stringify(claims)}`, claims) })
      assert.equal((await unauthorized)[0].message, 'jwt has invalid rooms')
      await greyhound.row('messaging.auth', { user_id: `wrong ${JSON.stringify(claims)}`, outcome: 'refused', reason: 'jwt has invalid rooms' })
    })
  }
})

test('configured patterns are for every client', async t => {
  const greyhound = await start(t, { env: { PLUGINS__MESSAGING__JOINABLE_ROOMS: '["news(*)"]', PLUGINS__MESSAGING__AUTH__ROOMS_CLAIM: 'groups' } })
  const socket = await login(t, greyhound, 'anybody', { claims: { rooms: ['not this claim'], groups: ['this one'] } })
  assert.deepEqual(await push(socket, 'join', 'news(sport)'), ok)
  assert.deepEqual(await push(socket, 'join', 'team(7)'), refused('not allowed'))
  assert.deepEqual(await roomsOf(greyhound, 'anybody'), ['news(sport)', 'this one', 'user(anybody)'])
  socket.disconnect()
  await greyhound.row('messaging.connection', { user_id: 'anybody', event: 'closed' })
  const { rooms } = await fetch(`${greyhound.admin}/v1/messaging/rooms`).then(answer => answer.json())
  assert.deepEqual(rooms, [])
  await greyhound.stop()
})
