// HAProxy in front of two nodes: over HTTP, and over TCP with the PROXY protocol.
import assert from 'node:assert/strict'
import { writeFile } from 'node:fs/promises'
import { connect as connectTcp } from 'node:net'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { assertConsecutive, certificate, directory, from, haproxy, publisher, shown } from './front.mjs'
import { freePort, prepare, start, until } from './greyhound.mjs'
import { generations, login, ways } from './sockets.mjs'

/** A node with a listener for HTTP, and one with the PROXY protocol and TLS. */
async function node(t, files) {
  const [greyhound, proxied] = [await prepare(t), await freePort()]
  Object.assign(greyhound, { proxied })
  await writeFile(join(greyhound.home, 'greyhound.toml'), `
    [plugins.messaging]
    trusted_proxies = ["127.0.0.1"]
    listeners = [{ listen = "127.0.0.1:${proxied}", proxy_protocol = true, tls = { certificate = "${files.certificate}", key = "${files.key}" } }]`)
  return greyhound.start()
}

/** Two nodes behind HAProxy, which listens on `ports`. */
async function behind(t, values = {}) {
  const files = await certificate(await directory(t))
  const both = await Promise.all([node(t, files), node(t, files)])
  const ports = { http: await freePort(), tcp: await freePort() }
  const servers = both.flatMap((node, n) => [
    [`10.0.0.1${n + 1}:3000`, `127.0.0.1:${node.port} port ${node.adminPort}`], [`10.0.0.1${n + 1}:3443`, `127.0.0.1:${node.proxied} port ${node.adminPort}`],
  ])
  const front = await haproxy(t, ports.http, {
    'bind :8443': `bind 127.0.0.1:${ports.tcp}`, '/etc/haproxy/tls/socket.example.com.pem': files.both, ...Object.fromEntries(servers), ...values,
  })
  return { both, ports, front, url: port => `https://127.0.0.1:${port}` }
}

// At the same time, because one of them waits for a time limit.
describe('HAProxy', { concurrency: true }, () => {
  for (const [kind, values] of [['http', {}], ['tcp', {}], ['tcp', { 'send-proxy-v2': 'send-proxy' }]]) {
    test(`clients of every generation connect over every transport, under their own addresses: ${kind} ${Object.values(values)}`, async t => {
      const { both, ports, url } = await behind(t, values)
      const used = new Set()
      const sockets = await Promise.all(ways.map(({ generation, way }, n) => login(t, both[0], `${n}`, { url: url(ports[kind]), generation, way, ...from(`127.0.3.${n + 1}`) })))
      for (const [n, { generation, way }] of ways.entries()) {
        const { node, address, secure } = await shown(both, `${n}`)
        used.add(node)
        assert.deepEqual([...address, secure], [`127.0.3.${n + 1}`, true], `${generation} ${way}`)
        await node.emit({ rooms: [`user(${n})`], event: 'message', args: [n] })
      }
      assert.equal(used.size, 2, 'HAProxy used one node only')
      await until('the messages', () => sockets.every(socket => socket.seen.length === 1))
    })
  }

  test('in turn, WebSockets use both nodes, and a reload of HAProxy loses nothing', async t => {
    const { both, ports, front, url } = await behind(t, { 'balance source': 'balance roundrobin', 'hash-type consistent': '' })
    const connect = (user, generation, kind) => login(t, both[0], user, { url: url(ports[kind]), generation, ...from('127.0.0.1') })
    const clients = name => Promise.all(generations.flatMap(generation => ['http', 'tcp'].map(kind => connect(`${name}-${generation}-${kind}`, generation, kind))))
    const early = await clients('early')
    const publishing = publisher(both)
    await until('messages', () => early.every(socket => socket.seen.length > 3))
    await front.reload()
    const late = await clients('late')
    const before = publishing.count()
    await until('messages after the reload', () => publishing.count() > before + 3)
    const count = await publishing.stop()
    for (const node of both) {
      const { sockets } = await fetch(`${node.admin}/v1/messaging/sockets`).then(answer => answer.json())
      assert.ok(sockets.length >= 6, `one node has only ${sockets.length} of 16`)
    }
    await until('the last message', () => [...early, ...late].every(socket => socket.seen.at(-1)?.[1] === count - 1))
    for (const [n, socket] of [...early, ...late].entries()) assertConsecutive(socket, count, `client ${n}`)
  })

  test('a connection without a valid header of a trusted proxy, or without a handshake of TLS, is closed', async t => {
    const proxied = await freePort()
    const env = { PLUGINS__MESSAGING__PROXY_PROTOCOL: 'true' }
    const greyhound = await start(t, { env: { ...env, PLUGINS__MESSAGING__TRUSTED_PROXIES: '["127.0.0.1"]' } })
    const stranger = await start(t, { port: proxied, env: { ...env, PLUGINS__MESSAGING__TRUSTED_PROXIES: '["127.0.0.2"]' } })
    const request = 'GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n'
    const answer = (port, text) => new Promise((done, fail) => {
      let answer = ''
      connectTcp(port, '127.0.0.1', function () { this.write(text) }).setEncoding('utf8').on('data', text => (answer += text)).on('close', () => done(answer)).on('error', () => {})
      setTimeout(() => fail(new Error(`not closed: ${text}`)), 60_000).unref()
    })
    const header = 'PROXY TCP4 198.51.100.7 10.0.0.1 4711 443\r\n'
    assert.match(await answer(greyhound.port, header + request), /^HTTP\/1.1 200/)
    const files = await certificate(await directory(t))
    const tls = await start(t, { env: { PLUGINS__MESSAGING__TLS__CERTIFICATE: files.certificate, PLUGINS__MESSAGING__TLS__KEY: files.key } })
    const silent = answer(tls.port, '')
    // The last two are incomplete, and closed after a while.
    const bad = [request, 'PROXY TCP4 somebody 10.0.0.1 4711 443\r\n' + request, 'PROXY', '\r\n\r\n\0\r\nQUIT\n!']
    assert.deepEqual(await Promise.all(bad.map(text => answer(greyhound.port, text))), ['', '', '', ''])
    assert.equal(await silent, '')
    assert.equal(await answer(stranger.port, header + request), '')
    await until('the line in the log', () => stranger.output.includes('127.0.0.1 is not a trusted proxy'))
  })
})
