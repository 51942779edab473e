// Behind a proxy: what it reports about clients, and connections that it uses again, for one client and then for another.
import assert from 'node:assert/strict'
import { Agent, get } from 'node:http'
import { createRequire } from 'node:module'
import { test } from 'node:test'
import { start, until } from './greyhound.mjs'
import { login, ways } from './sockets.mjs'

const { WebSocket } = createRequire(import.meta.url)('ws')

test('what is for one is never written to another, whose WebSocket has the connection of the first one\'s handshake', async t => {
  const greyhound = await start(t, { env: { PLUGINS__MESSAGING__NAMESPACES: '["/", "/chat"]' } })
  const url = `${greyhound.url}/socket.io/?EIO=4&transport=`
  const proxy = new Agent({ keepAlive: true, maxSockets: 1 })
  t.after(() => proxy.destroy())

  const websocket = async (query, options) => {
    const socket = new WebSocket(url.replace('http', 'ws') + query, options)
    t.after(() => socket.terminate())
    const seen = []
    socket.on('message', packet => `${packet}` === '2' ? socket.send('3') : seen.push(`${packet}`.trimEnd()))
    await new Promise((done, fail) => socket.once('open', done).once('error', fail))
    const answer = async (packet, begins) => {
      socket.send(packet)
      await until(begins, () => seen.some(it => it.startsWith(begins)))
    }
    const join = async (namespace, user) => {
      await answer(`40${namespace}`, `40${namespace}`)
      await answer(`42${namespace}["authenticate",{"token":"${greyhound.token(user)}"}]`, `42${namespace}["authenticated"]`)
    }
    return { socket, seen, answer, join, messages: () => seen.filter(it => it.includes('"message"')) }
  }

  const [sid, port] = await new Promise((done, fail) => get(`${url}polling`, { agent: proxy }, response => {
    const port = response.socket.localPort
    response.setEncoding('utf8').on('data', text => done([JSON.parse(text.slice(1)).sid, port]))
  }).once('error', fail))
  const first = await websocket(`websocket&sid=${sid}`)
  await first.answer('2probe', '3probe')
  first.socket.send('5')
  await first.join('', 'first')
  await first.join('/chat,', 'first')
  const second = await websocket('websocket', { agent: proxy })
  assert.equal(second.socket._socket.localPort, port, 'not the same connection')
  await second.join('', 'second')

  for (let n = 0; n < 20; n++) {
    await greyhound.emit({ rooms: ['user(first)'], event: 'message', args: ['chat', n], namespace: '/chat', durable: false })
    await greyhound.emit({ rooms: ['user(first)'], event: 'message', args: ['root', n], durable: false })
    await greyhound.emit({ rooms: ['user(second)'], event: 'message', args: ['second', n], durable: false })
  }
  await until('all messages', () => first.messages().length === 40 && second.messages().length === 20)
  const numbers = [...Array(20).keys()]
  assert.deepEqual(second.messages(), numbers.map(n => `42["message","second",${n}]`))
  assert.deepEqual(first.messages(), numbers.flatMap(n => [`42/chat,["message","chat",${n}]`, `42["message","root",${n}]`]))

  // One that stops reading is closed itself, and not the connection of its handshake.
  first.socket.terminate()
  await greyhound.row('messaging.connection', row => row.event === 'closed' && row.user_id === 'first')
  await greyhound.emit({ rooms: ['user(second)'], event: 'message', args: ['still there'] })
  await until('the last message', () => second.messages().at(-1).includes('still there'))
})

/** What the rows and the other nodes show of a client. */
const shown = async (greyhound, user) => {
  const attempt = await greyhound.row('messaging.auth', { user_id: user, outcome: 'accepted' })
  const opened = await greyhound.row('messaging.connection', row => row.event === 'opened' && row.seq === attempt.connection_seq)
  const { sockets } = await fetch(`${greyhound.admin}/v1/messaging/sockets?room=user(${user})`).then(answer => answer.json())
  const { address, secure } = sockets[0].handshake
  return { rows: [attempt.address, opened.address], address, secure }
}

test('a trusted proxy reports the address and the TLS of each client, over every transport', async t => {
  const greyhound = await start(t, { env: { PLUGINS__MESSAGING__TRUSTED_PROXIES: '["127.0.0.0/8"]' } })
  const extraHeaders = { 'x-forwarded-for': '203.0.113.9, 198.51.100.7, 127.0.0.2', 'x-forwarded-proto': 'https', forwarded: 'for=192.0.2.66' }
  for (const [n, { generation, way }] of ways.entries()) {
    await login(t, greyhound, `${n}`, { generation, way, extraHeaders, transportOptions: { polling: { extraHeaders }, websocket: { extraHeaders } } })
    assert.deepEqual(await shown(greyhound, `${n}`), { rows: ['198.51.100.7', '198.51.100.7'], address: '198.51.100.7', secure: true }, `${generation} ${way}`)
  }
})

test('`Forwarded` counts if it is configured', async t => {
  const greyhound = await start(t, { env: { PLUGINS__MESSAGING__TRUSTED_PROXIES: '127.0.0.1,::1', PLUGINS__MESSAGING__FORWARDED_HEADER: 'forwarded' } })
  const extraHeaders = { 'x-forwarded-for': '192.0.2.66', forwarded: 'for=203.0.113.9, for="[2001:db8::7]:4711";proto=https' }
  await login(t, greyhound, 'x', { extraHeaders })
  assert.deepEqual(await shown(greyhound, 'x'), { rows: ['2001:db8::7', '2001:db8::7'], address: '2001:db8::7', secure: true })
})

test('nobody else is believed', async t => {
  const greyhound = await start(t, { env: { PLUGINS__MESSAGING__TRUSTED_PROXIES: '["10.0.0.0/8"]' } })
  const extraHeaders = { 'x-forwarded-for': '198.51.100.7', 'x-forwarded-proto': 'https', forwarded: 'for=198.51.100.7' }
  await login(t, greyhound, 'x', { extraHeaders })
  assert.deepEqual(await shown(greyhound, 'x'), { rows: ['127.0.0.1', '127.0.0.1'], address: '127.0.0.1', secure: false })
})
