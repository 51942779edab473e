// nginx in front of two nodes, one of which listens on a Unix socket.
import assert from 'node:assert/strict'
import { join } from 'node:path'
import { test } from 'node:test'
import { assertConsecutive, certificate, directory, from, nginx, publisher, shown } from './front.mjs'
import { freePort, start, until } from './greyhound.mjs'
import { generations, login, ways } from './sockets.mjs'

/** Two nodes and the values for nginx. */
async function nodes(t) {
  const path = await directory(t)
  const socket = join(path, 'gateway.sock')
  const both = await Promise.all([
    start(t, { env: { PLUGINS__MESSAGING__TRUSTED_PROXIES: '["127.0.0.1"]' } }),
    start(t, { env: { PLUGINS__MESSAGING__LISTEN: `unix:${socket}` } }),
  ])
  const { certificate: pem, key } = await certificate(path)
  const values = {
    '127.0.0.1:3000': `127.0.0.1:${both[0].port}`, '/run/greyhound/gateway.sock': socket,
    '/etc/greyhound/tls/fullchain.pem': pem, '/etc/greyhound/tls/privkey.pem': key,
  }
  return [both, values]
}

test('with stickiness, clients of every generation connect over every transport, under their own addresses', async t => {
  const [both, values] = await nodes(t)
  const port = await freePort()
  await nginx(t, port, values)
  const url = `https://127.0.0.1:${port}`
  const sockets = await Promise.all(ways.map(({ generation, way }, n) => login(t, both[0], `${n}`, { url, generation, way, ...from(`127.0.2.${n + 1}`) })))
  const used = new Set()
  for (const [n, { generation, way }] of ways.entries()) {
    const { node, address, secure } = await shown(both, `${n}`)
    used.add(node)
    assert.deepEqual([...address, secure], [`127.0.2.${n + 1}`, true], `${generation} ${way}`)
    await node.emit({ rooms: [`user(${n})`], event: 'message', args: [n] })
  }
  assert.equal(used.size, 2, 'nginx used one node only')
  await until('the messages', () => sockets.every(socket => socket.seen.length === 1))
  sockets.forEach((socket, n) => assert.deepEqual(socket.seen, [['message', n]]))
})

test('in turn, WebSockets use both nodes, and a reload of nginx loses nothing', async t => {
  const [both, values] = await nodes(t)
  const port = await freePort()
  const front = await nginx(t, port, { ...values, 'hash $remote_addr consistent;': '' })
  const connect = (user, generation) => login(t, both[0], user, { url: `https://127.0.0.1:${port}`, generation, ...from('127.0.0.1') })
  const early = await Promise.all([...generations, ...generations].map((generation, n) => connect(`early-${n}`, generation)))
  const publishing = publisher(both)
  await until('messages', () => early.every(socket => socket.seen.length > 3))
  await front.reload()
  const late = []
  for (const [n, generation] of generations.entries()) late.push(await connect(`late-${n}`, generation))
  const before = publishing.count()
  await until('messages after the reload', () => publishing.count() > before + 3)
  const count = await publishing.stop()
  const [first, second] = await Promise.all(both.map(node => fetch(`${node.admin}/v1/messaging/sockets`).then(answer => answer.json())))
  assert.deepEqual([first.sockets.length, second.sockets.length], [6, 6])
  await until('the last message', () => [...early, ...late].every(socket => socket.seen.at(-1)?.[1] === count - 1))
  early.forEach((socket, n) => assertConsecutive(socket, count, `early ${n}`))
  late.forEach((socket, n) => assertConsecutive(socket, count, `late ${n}`))
})
