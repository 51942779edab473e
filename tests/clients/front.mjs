// nginx and HAProxy in front of Greyhound, with the configurations in examples/ and the addresses of a test.
import assert from 'node:assert/strict'
import { execFileSync, spawn } from 'node:child_process'
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { Agent } from 'node:http'
import { Agent as TlsAgent } from 'node:https'
import { connect as connectTcp } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { until } from './greyhound.mjs'

const examples = resolve(import.meta.dirname, '../../examples')

/** A directory that is removed when the test ends. */
export async function directory(t) {
  const path = await mkdtemp(join(tmpdir(), 'greyhound-front-'))
  t.after(() => rm(path, { recursive: true, force: true }))
  return path
}

/** Writes a new certificate for localhost and its key, `cert.pem` and `key.pem`, and both of them in one file. */
export async function certificate(path) {
  const files = { certificate: join(path, 'cert.pem'), key: join(path, 'key.pem'), both: join(path, 'both.pem') }
  execFileSync('openssl', ['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-subj', '/CN=localhost',
    '-addext', 'subjectAltName=DNS:localhost,IP:127.0.0.1', '-days', '1', '-keyout', files.key, '-out', files.certificate], { stdio: 'ignore' })
  await writeFile(files.both, await readFile(files.certificate, 'utf8') + await readFile(files.key, 'utf8'))
  return files
}

/** A new authority: `ca` is its certificate, and `issue` writes a certificate of it and its key. */
export async function authority(path) {
  const [ca, caKey, extensions] = ['ca.pem', 'ca-key.pem', 'extensions'].map(name => join(path, name))
  const openssl = (...args) => execFileSync('openssl', args, { stdio: 'ignore' })
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  openssl('req', '-x509', ...newKey, '-subj', '/CN=authority', '-days', '1', '-keyout', caKey, '-out', ca)
  await writeFile(extensions, 'basicConstraints = CA:FALSE\nsubjectAltName = DNS:localhost,IP:127.0.0.1\n')
  const issue = name => {
    const [certificate, key, request] = ['pem', 'key', 'csr'].map(kind => join(path, `${name}.${kind}`))
    openssl('req', '-new', ...newKey, '-subj', `/CN=${name}`, '-keyout', key, '-out', request)
    openssl('x509', '-req', '-in', request, '-CA', ca, '-CAkey', caKey, '-CAcreateserial', '-days', '1', '-extfile', extensions, '-out', certificate)
    return { certificate, key }
  }
  return { ca, issue }
}

/** Replaces the certificate by one for the same key that has expired. */
export async function expire(path, { certificate, key }) {
  const [config, database, serial, request] = ['ca.conf', 'index.txt', 'serial', 'request.pem'].map(name => join(path, name))
  await writeFile(config, `[ca]\ndefault_ca = d\n[d]\ndatabase = ${database}\nserial = ${serial}\npolicy = p\nx509_extensions = e\n[p]\ncommonName = supplied\n[e]\nsubjectAltName = DNS:localhost\n`)
  await writeFile(database, '')
  await writeFile(serial, '01')
  execFileSync('openssl', ['req', '-new', '-key', key, '-subj', '/CN=localhost', '-out', request], { stdio: 'ignore' })
  execFileSync('openssl', ['ca', '-batch', '-selfsign', '-config', config, '-in', request, '-keyfile', key, '-md', 'sha256', '-notext',
    '-startdate', '20200101000000Z', '-enddate', '20200102000000Z', '-outdir', path, '-out', certificate], { stdio: 'ignore' })
}

/** Options of a client that connects from this loopback address. */
export function from(localAddress, url = 'https:') {
  const options = { localAddress, rejectUnauthorized: false }
  return { agent: url.startsWith('https') ? new TlsAgent(options) : new Agent(options), rejectUnauthorized: false }
}

/** The text of an example in which each key of `values` is replaced by its value. */
async function filled(example, values) {
  let text = await readFile(join(examples, example), 'utf8')
  for (const [old, value] of Object.entries(values)) {
    assert.ok(text.includes(old), `examples/${example} has no \`${old}\``)
    text = text.replaceAll(old, value)
  }
  return text
}

/** Runs the program. `reload` sends it a signal, and waits until its log says that it has reloaded. */
async function run(t, port, program, args, { signal, log }) {
  const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let output = '', ended = false
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', text => (output += text))
  const exited = new Promise(done => child.on('close', done).on('error', done)).then(() => (ended = true))
  t.after(async () => {
    child.kill('SIGTERM')
    await exited
  })
  await until(`${program} on port ${port}`, () => {
    assert.ok(!ended, `${program} ended:\n${output}`)
    return new Promise(done => connectTcp(port, '127.0.0.1').on('connect', function () { this.destroy(); done(true) }).on('error', () => done(false)))
  })
  const reload = async () => {
    child.kill(signal)
    await until(`the reload of ${program}`, () => output.includes(log))
  }
  return { reload }
}

/** nginx on `port` with examples/nginx.conf. */
export async function nginx(t, port, values) {
  const path = await directory(t)
  const paths = ['client_body', 'proxy', 'fastcgi', 'uwsgi', 'scgi'].map(name => `${name}_temp_path ${path}/${name};`).join(' ')
  await writeFile(join(path, 'example.conf'), await filled('nginx.conf', { 'listen 443 ssl': `listen 127.0.0.1:${port} ssl`, ...values }))
  // As the user of the test, who owns the Unix socket.
  await writeFile(join(path, 'nginx.conf'), `user root; worker_processes 1; pid ${path}/pid; daemon off; error_log stderr notice;
    events {} http { access_log off; ${paths} include ${path}/example.conf; }`)
  return run(t, port, 'nginx', ['-p', path, '-e', 'stderr', '-c', join(path, 'nginx.conf')], { signal: 'SIGHUP', log: 'gracefully shutting down' })
}

/** HAProxy with examples/haproxy.cfg, its listener for HTTP on `port`. */
export async function haproxy(t, port, values) {
  const file = join(await directory(t), 'haproxy.cfg')
  await writeFile(file, await filled('haproxy.cfg', { 'maxconn 20000': 'maxconn 1000', 'bind :443': `bind 127.0.0.1:${port}`, ...values }))
  return run(t, port, 'haproxy', ['-W', '-f', file], { signal: 'SIGUSR2', log: 'Reloading HAProxy' })
}

/** What the rows of a node say about the client of a user, once it is there: its addresses and where its socket is. */
export async function shown(nodes, user) {
  for (const node of nodes) {
    const { sockets } = await fetch(`${node.admin}/v1/messaging/sockets?room=user(${user})`).then(answer => answer.json())
    if (!sockets.length) continue
    const attempt = await node.row('messaging.auth', { user_id: user, outcome: 'accepted' })
    const opened = await node.row('messaging.connection', row => row.event === 'opened' && row.seq === attempt.connection_seq)
    const { address, secure } = sockets[0].handshake
    return { node, address: new Set([attempt.address, opened.address, address]), secure }
  }
  assert.fail(`no node has user ${user}`)
}

/** Publishes numbers to everybody on each node until it is stopped. */
export function publisher(nodes) {
  let stopped = false, count = 0
  const running = (async () => {
    while (!stopped) {
      await Promise.all(nodes.map(node => node.emit({ rooms: [], event: 'message', args: [count], durable: false })))
      count += 1
    }
  })()
  return {
    count: () => count,
    stop: async () => {
      stopped = true
      await running
      return count
    },
  }
}

/** Whether the messages of a socket are consecutive numbers up to the last, none twice. */
export function assertConsecutive(socket, count, what) {
  const numbers = socket.seen.map(([, number]) => number)
  const expected = Array.from({ length: numbers.length }, (_, n) => count - numbers.length + n)
  assert.ok(numbers.length > 0, `${what} got nothing`)
  assert.deepEqual(numbers, expected, what)
}
