// What is published on one connection to Redis happens in its order: requests between the messages before and after them.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { login } from '../clients/sockets.mjs'
import { allHave } from './essentials.mjs'
import { greyhound } from './greyhound.mjs'
import { redis } from './redis.mjs'

const msgpack = createRequire(import.meta.url)('notepack.io')

test('sockets have joined and left rooms when the next message comes', async t => {
  const server = await redis(t)
  const hound = await greyhound(t, server)
  const socket = await login(t, hound, 'mover')
  const connection = server.connect()
  const emit = (room, arg) => connection.publish('socket.io#/#', msgpack.encode(['abcdef', { type: 2, data: ['message', arg], nsp: '/' }, { rooms: [room], except: [], flags: {} }]))
  const move = (type, room) => connection.publish('socket.io-request#/#', JSON.stringify({ uid: 'abcdef', type, opts: { rooms: ['user(mover)'], except: [] }, rooms: [room] }))
  const rounds = 200
  for (let n = 0; n < rounds; n++) {
    move(2, `room ${n}`)
    emit(`room ${n}`, n)
    move(3, `room ${n}`)
    emit(`room ${n}`, 'after it left')
  }
  emit('user(mover)', 'last')
  await allHave([socket])
  assert.deepEqual(socket.seen.map(([, arg]) => arg), [...Array(rounds).keys(), 'last'])
})
