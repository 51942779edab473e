// Rooms that clients ask for, in a cluster: what is published after the acknowledgement arrives, and all members agree who is where.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { login, push } from '../clients/sockets.mjs'
import { allHave } from './essentials.mjs'
import { assembled, greyhound } from './greyhound.mjs'
import { node } from './node.mjs'
import { redis } from './redis.mjs'

const claims = { rooms: ['claimed'], join: ['team(*)'] }

test('a message that another node publishes after the acknowledgement of `join` arrives', async t => {
  const server = await redis(t)
  const [here, there] = await Promise.all([1, 2].map(() => greyhound(t, server, { subscription: 'rooms' })))
  await assembled(server, 2)
  const socket = await login(t, here, 'asking', { claims })
  const rounds = 30
  for (let n = 0; n < rounds; n++) {
    // Subscribes and unsubscribes each time.
    assert.deepEqual(await push(socket, 'join', `team(${n})`), [{ ok: true }])
    await there.emit({ rooms: [`team(${n})`], event: 'message', args: [n] })
    assert.deepEqual(await push(socket, 'leave', `team(${n})`), [{ ok: true }])
  }
  // Nobody waits for a subscription that is not needed any more.
  for (let n = 0; n < rounds; n++) {
    socket.emit('join', 'team(flicker)')
    socket.emit('leave', 'team(flicker)')
  }
  await push(socket, 'join', 'team(flicker)')
  await there.emit({ rooms: ['claimed'], event: 'message', args: ['last'] })
  await allHave([socket])
  const seen = socket.seen.map(([, arg]) => arg)
  assert.deepEqual(seen, [...Array(rounds).keys(), 'last'])
})

test('Node sees the rooms that a client asked for, and changes them', async t => {
  const server = await redis(t)
  const [peer, hound] = await Promise.all([node(t, server), greyhound(t, server)])
  await assembled(server, 2)
  const socket = await login(t, hound, 'seen', { claims })
  await push(socket, 'join', 'team(7)')
  const rooms = async () => (await peer.io.in('user(seen)').fetchSockets()).map(({ rooms }) => [...rooms].sort())
  assert.deepEqual(await rooms(), [[socket.id, 'claimed', 'team(7)', 'user(seen)'].sort()])
  await peer.io.in('team(7)').socketsLeave('team(7)')
  await peer.io.in('claimed').socketsJoin('team(8)')
  await hound.row('messaging.membership', { room: 'team(8)', event: 'joined', cause: 'server', user_id: 'seen' })
  assert.deepEqual(await rooms(), [[socket.id, 'claimed', 'team(8)', 'user(seen)'].sort()])
  await push(socket, 'leave', 'team(8)')
  assert.deepEqual(await rooms(), [[socket.id, 'claimed', 'user(seen)'].sort()])
})
