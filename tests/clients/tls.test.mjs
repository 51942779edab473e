// TLS of Greyhound itself, its listeners, and its path.
import assert from 'node:assert/strict'
import { readFile, stat, writeFile } from 'node:fs/promises'
import { get } from 'node:http'
import { request as requestTls } from 'node:https'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect as connectTls } from 'node:tls'
import { assertConsecutive, authority, certificate, directory, expire, publisher, shown } from './front.mjs'
import { freePort, prepare, start, until } from './greyhound.mjs'
import { fence, login, transportOf, ways } from './sockets.mjs'

const { WebSocket } = createRequire(import.meta.url)('ws')
const trusting = { rejectUnauthorized: false }

const tls = ({ certificate, key }) => ({ PLUGINS__MESSAGING__TLS__CERTIFICATE: certificate, PLUGINS__MESSAGING__TLS__KEY: key })

/** The protocol and the certificate of a new connection. */
const handshake = (port, options) => new Promise((done, fail) => {
  const socket = connectTls({ port, host: '127.0.0.1', ...trusting, ...options }, () => {
    done({ alpn: socket.alpnProtocol, serial: socket.getPeerCertificate().serialNumber })
    socket.destroy()
  }).on('error', fail)
})

test('clients connect over TLS, and a new certificate takes effect under load', async t => {
  const path = await directory(t)
  const files = await certificate(path)
  const greyhound = await start(t, { env: tls(files) })
  const url = greyhound.url.replace('http', 'https')
  const sockets = await Promise.all(ways.map(way => login(t, greyhound, 'x', { url, ...way, ...trusting })))
  sockets.forEach((socket, n) => assert.equal(transportOf(socket), ways[n].way === 'polling' ? 'polling' : 'websocket'))
  const { address, secure } = await shown([greyhound], 'x')
  assert.deepEqual([...address, secure], ['127.0.0.1', true])

  const publishing = publisher([greyhound])
  const old = await handshake(greyhound.port, { ALPNProtocols: ['h2', 'http/1.1'] })
  assert.equal(old.alpn, 'http/1.1')
  await assert.rejects(handshake(greyhound.port, { ALPNProtocols: ['h2'] }))
  await writeFile(files.certificate, 'not a certificate')
  await until('the line in the log', () => greyhound.output.includes('the changed files of TLS cannot be used'))
  assert.equal((await handshake(greyhound.port)).serial, old.serial)
  await certificate(path)
  await until('the new certificate', async () => (await handshake(greyhound.port)).serial !== old.serial)
  const late = await login(t, greyhound, 'late', { url, ...trusting })
  await until('a message', () => late.seen.length > 3)

  const count = await publishing.stop()
  await until('the last message', () => [late, ...sockets].every(socket => socket.seen.at(-1)?.[1] === count - 1))
  for (const [n, socket] of [late, ...sockets].entries()) assertConsecutive(socket, count, `client ${n}`)
})

test('a client that reads slowly over TLS gets everything in order, and one that is gone leaves `unsent` rows', async t => {
  const greyhound = await start(t, { env: { ...tls(await certificate(await directory(t))), PLUGINS__MESSAGING__WRITE_TIMEOUT: '2s' } })
  const url = `wss://127.0.0.1:${greyhound.port}/socket.io/?EIO=4&transport=websocket`
  const open = async user => {
    const socket = new WebSocket(url, trusting)
    t.after(() => socket.terminate())
    const seen = []
    socket.on('message', packet => `${packet}` === '2' ? socket.send('3') : seen.push(`${packet}`))
    await new Promise((done, fail) => socket.once('open', done).once('error', fail))
    socket.send('40')
    await until('the namespace', () => seen.some(it => it.startsWith('40')))
    socket.send(`42["authenticate",{"token":"${greyhound.token(user)}"}]`)
    await until('authenticated', () => seen.some(it => it.startsWith('42["authenticated"')))
    return { socket, messages: () => seen.filter(it => it.startsWith('42["message"')) }
  }
  const [slow, gone] = [await open('slow'), await open('gone')]
  slow.socket._socket.pause()
  gone.socket._socket.pause()
  const big = 'x'.repeat(100_000)
  for (let n = 0; n < 150; n++) await greyhound.emit({ rooms: ['user(slow)', 'user(gone)'], event: 'message', args: [n, big], durable: false })
  slow.socket._socket.resume()
  await until('all messages', () => slow.messages().length === 150)
  slow.messages().forEach((packet, n) => assert.equal(packet.trimEnd(), `42["message",${n},"${big}"]`))
  await greyhound.row('messaging.connection', { event: 'closed', user_id: 'gone', reason: 'slow client' })
  await greyhound.row('messaging.delivery', { user_id: 'gone', outcome: 'unsent' })
  assert.ok(!(await greyhound.rows('messaging.delivery')).some(row => row.user_id === 'slow' && row.outcome === 'unsent'))
})

test('several listeners, one of them a Unix socket, serve the configured path', async t => {
  const greyhound = await prepare(t)
  const [other, path, files] = [await freePort(), join(greyhound.home, 'gateway.sock'), await certificate(await directory(t))]
  await writeFile(join(greyhound.home, 'bundle.js'), 'the bundle')
  await writeFile(join(greyhound.home, 'greyhound.toml'), `
    [plugins.messaging]
    path = "/live/socket/"
    client_bundle = "bundle.js"
    listeners = [{ listen = "unix:${path}" }, { listen = "127.0.0.1:${other}", tls = { certificate = "${files.certificate}", key = "${files.key}" } }]`)
  await greyhound.start()
  const first = await login(t, greyhound, 'first', { path: '/live/socket' })
  const second = await login(t, greyhound, 'second', { path: '/live/socket/', way: 'upgrade', url: `https://127.0.0.1:${other}`, ...trusting })
  await fence(greyhound, [first, second])
  const status = path => fetch(greyhound.url + path).then(answer => answer.status)
  assert.equal(await fetch(`${greyhound.url}/live/socket/socket.io.js`).then(answer => answer.text()), 'the bundle')
  assert.deepEqual([await status('/socket.io/?EIO=4&transport=polling'), await status('/live/socketry/?EIO=4&transport=polling')], [404, 404])

  // Whoever may use the socket is believed.
  const poll = headers => new Promise((done, fail) => get({ socketPath: path, path: '/live/socket/?EIO=4&transport=polling', headers }, answer => {
    answer.setEncoding('utf8').on('data', () => {}).on('end', () => done(answer.statusCode))
  }).on('error', fail))
  assert.equal(await poll({}), 200)
  assert.equal((await stat(path)).mode & 0o777, 0o660)
  await greyhound.kill()
  assert.ok(await stat(path), 'a killed process leaves its socket')
  await greyhound.start()
  assert.equal(await poll({}), 200)
  await greyhound.stop()
  await assert.rejects(stat(path))
})

test('validate reports files of TLS that cannot be used, and warns of an expired certificate', async t => {
  const [path, otherPath] = [await directory(t), await directory(t)]
  const [files, other] = [await certificate(path), await certificate(otherPath)]
  const validate = async (env, text = '') => {
    const greyhound = await prepare(t, { env })
    await writeFile(join(greyhound.home, 'greyhound.toml'), text)
    return greyhound.cli('validate')
  }
  assert.deepEqual(await validate(tls(files)).then(({ code, stderr }) => [code, stderr]), [0, ''])
  const unfit = await validate(tls({ ...files, key: other.key }))
  assert.match(unfit.stderr, /plugins\.messaging\.tls\.key: .*key\.pem is not the key of .*cert\.pem/)
  const missing = await validate(tls({ certificate: '/nowhere/cert.pem', key: files.certificate }))
  assert.match(missing.stderr, /tls\.certificate: .*cannot be read/)
  assert.match(missing.stderr, /tls\.key: .*has no private key in PEM/)
  assert.deepEqual([unfit.code, missing.code], [2, 2])
  const half = await validate({}, '[plugins.messaging]\nproxy_protocol = true\ntrusted_proxies = ["everybody"]\npath = "socket.io"\nlisteners = [{ listen = "unix:x", tls = { key = "k" } }]')
  const nowhere = await validate({ PLUGINS__MESSAGING__LISTEN: 'unix:/nowhere/gateway.sock' })
  assert.match(nowhere.stderr, /plugins\.messaging\.listen: \/nowhere is not a directory/)
  for (const key of ['trusted_proxies', 'path', 'listeners[0].tls.certificate']) assert.ok(half.stderr.includes(`plugins.messaging.${key}: `), half.stderr)

  await expire(path, files)
  const expired = await validate(tls(files))
  assert.equal(expired.code, 0, expired.stderr)
  assert.match(expired.stderr, /warning: plugins\.messaging\.tls\.certificate: .* has expired/)
})

test('the admin listener speaks TLS, and admits programs with a certificate and nobody else', async t => {
  const [authorities, others] = [await authority(await directory(t)), await authority(await directory(t))]
  const [own, client, stranger] = [authorities.issue('node'), authorities.issue('backend'), others.issue('stranger')]
  const greyhound = await prepare(t, { env: { ADMIN__TLS__CERTIFICATE: own.certificate, ADMIN__TLS__KEY: own.key, ADMIN__ALLOW_LOOPBACK: 'false' } })
  const ask = async (path, certified, { method = 'GET', body } = {}) => {
    const credentials = certified && { cert: await readFile(certified.certificate), key: await readFile(certified.key) }
    const options = { port: greyhound.adminPort, host: '127.0.0.1', path, method, headers: { 'content-type': 'application/json' }, ca: await readFile(authorities.ca), agent: false, ...credentials }
    return new Promise((done, fail) => requestTls(options, answer => answer.on('data', () => {}).on('end', () => done(answer.statusCode))).on('error', fail).end(body))
  }
  const ready = certified => until('readiness', () => ask('/readyz', certified).then(status => status === 200, () => false))

  greyhound.spawn()
  await ready()
  assert.equal(await ask('/v1/topics'), 401)
  assert.equal(await ask('/v1/topics', client), 401, 'a certificate that is not asked for admits nobody')
  await greyhound.stop()

  greyhound.settings.ADMIN__TLS__CLIENT_CA = authorities.ca
  greyhound.spawn()
  await ready(client)
  for (const certified of [undefined, stranger]) await assert.rejects(ask('/healthz', certified), { code: /ECONNRESET|ERR_SSL|EPIPE/ })
  assert.equal(await ask('/v1/topics', client), 200)
  assert.equal(await ask('/v1/messaging/emit', client, { method: 'POST', body: JSON.stringify({ rooms: [], event: 'x', args: [] }) }), 200)
  const { code, stdout, stderr } = await greyhound.cli('topics')
  assert.equal(code, 0, stderr)
  assert.match(stdout, /messaging\.connection/)
  // Another program has the address.
  greyhound.settings.ADMIN__TLS__CERTIFICATE = client.certificate
  greyhound.settings.ADMIN__TLS__KEY = client.key
  assert.match((await greyhound.cli('topics')).stderr, /cannot reach https:.*does not have the certificate in admin\.tls\.certificate/)
})
