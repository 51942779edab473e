// The socket.io clients that people use: one of each generation, over each transport.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { until } from './greyhound.mjs'

const require = createRequire(import.meta.url)
const clients = { 1.7: 'socket.io-client-1', 2.5: 'socket.io-client-2', 3.1: 'socket.io-client-3', 4.8: 'socket.io-client-4' }
export const generations = Object.keys(clients).sort()
export const transports = { websocket: ['websocket'], polling: ['polling'], upgrade: ['polling', 'websocket'] }

/** Each generation with each way to connect. */
export const ways = generations.flatMap(generation => Object.keys(transports).map(way => ({ generation, way })))

/** The first of `events` that a socket gets: its name and arguments. */
export function first(socket, events, limit = 60_000) {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`no \`${events.join('` or `')}\` within ${limit} ms`)), limit)
    for (const event of events) {
      socket.once(event, (...args) => {
        clearTimeout(timer)
        done([event, ...args])
      })
    }
  })
}

/** The next `event` of a socket: its arguments. */
export const next = (socket, event, limit) => first(socket, [event], limit).then(([, ...args]) => args)

/** Connects a client; it is closed when the test `t` ends. */
export function connect(t, url, { generation = '4.8', way = 'websocket', ...options } = {}) {
  const io = require(clients[generation])
  const socket = io.connect(url, { transports: transports[way], forceNew: true, reconnection: false, timeout: 60_000, ...options })
  t.after(() => socket.disconnect())
  socket.seen = []
  return socket
}

/** Connects and authenticates as `user`. What arrives afterwards is collected in `seen` by `record`. */
export async function login(t, greyhound, user, { claims, ...options } = {}) {
  const socket = connect(t, options.url ?? greyhound.url, options)
  const authenticated = next(socket, 'authenticated')
  const refused = new Promise((_, fail) => {
    socket.once('unauthorized', why => fail(new Error(`unauthorized: ${JSON.stringify(why)}`)))
    socket.once('connect_error', fail)
  })
  socket.emit('authenticate', { token: greyhound.token(user, claims) })
  assert.deepEqual(await Promise.race([authenticated, refused]), [])
  if (options.way === 'upgrade') await upgraded(socket)
  record(socket, 'message')
  return socket
}

export const transportOf = socket => socket.io.engine.transport.name

export const upgraded = socket => until('the upgrade to websocket', () => transportOf(socket) === 'websocket')

/** Collects the arguments of every `event` in `socket.seen`. */
export function record(socket, event) {
  socket.on(event, (...args) => socket.seen.push([event, ...args]))
}

/** Emits with an ack and waits for it. */
export function push(socket, event, ...args) {
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`no ack of \`${event}\``)), 60_000)
    socket.emit(event, ...args, (...answer) => {
      clearTimeout(timer)
      done(answer)
    })
  })
}

/** Sends everybody a last message and waits until each of the sockets has it: what was sent before is there, or never will be. */
export async function fence(greyhound, sockets, namespace = '/') {
  const passed = sockets.map(socket => next(socket, 'fence'))
  await greyhound.emit({ rooms: [], event: 'fence', args: [], namespace })
  await Promise.all(passed)
}
