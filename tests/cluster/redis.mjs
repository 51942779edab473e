// Redis servers of every kind that a cluster may stand on, on free ports and in directories of their own.
import assert from 'node:assert/strict'
import { execFile, spawn } from 'node:child_process'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort, until } from '../clients/greyhound.mjs'

const IORedis = createRequire(import.meta.url)('ioredis')
const run = promisify(execFile)

// A server must not outlive the tests, however they end.
const running = new Set()
process.on('exit', () => running.forEach(child => child.kill('SIGKILL')))
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.once(signal, () => process.exit(1))

export class Redis {
  /** A server that is not running yet. `config`: lines of its configuration; `mode`: such as `--sentinel`. */
  constructor({ home, port, config = [], mode = [], url = `redis://127.0.0.1:${port}` }) {
    Object.assign(this, { home, port, config, mode, url, clients: [], client: { port, host: '127.0.0.1' } })
  }

  async start() {
    const path = join(this.home, `${this.port}.conf`)
    const base = ['bind 127.0.0.1', `dir ${this.home}`, 'daemonize no', 'save ""', 'appendonly no', 'repl-diskless-sync-delay 0']
    // A sentinel writes its file: what it has learnt stays there when it is started again.
    if (!this.written) await writeFile(path, [`port ${this.client.tls ? 0 : this.port}`, ...base, ...this.config].join('\n'))
    this.written = true
    this.child = spawn('redis-server', [path, ...this.mode], { stdio: ['ignore', 'pipe', 'pipe'] })
    this.output = ''
    for (const stream of [this.child.stdout, this.child.stderr]) stream.setEncoding('utf8').on('data', text => (this.output += text))
    running.add(this.child)
    this.exited = new Promise(done => this.child.on('close', done)).then(() => running.delete(this.child))
    await until('redis-server to answer', async () => {
      assert.equal(this.child.exitCode, null, `redis-server ended at start:\n${this.output}`)
      return this.command('PING').then(answer => answer === 'PONG', () => false)
    })
    return this
  }

  /** A connection of its own, closed with the server: for subscriptions and for commands in any number. */
  connect(options = {}) {
    const client = new IORedis({ ...this.client, retryStrategy: () => 50, enableReadyCheck: false, ...options })
    client.on('error', () => {})
    this.clients.push(client)
    return client
  }

  /** Runs one command; arguments and answers may be Buffers. */
  command(name, ...args) {
    this.commands ??= this.connect({ maxRetriesPerRequest: 3 })
    return this.commands.call(name, ...args)
  }

  publish(channel, message) {
    return this.command('PUBLISH', channel, message)
  }

  /** What anybody publishes from now on, or to these sharded channels: [{channel, bytes}], growing until its `end()`. */
  async record(...sharded) {
    const client = this.connect()
    const seen = []
    client.on('pmessageBuffer', (_, channel, bytes) => seen.push({ channel: String(channel), bytes }))
    client.on('smessageBuffer', (channel, bytes) => seen.push({ channel: String(channel), bytes }))
    await (sharded.length ? Promise.all(sharded.map(channel => client.ssubscribe(channel))) : client.psubscribe('*'))
    return Object.assign(seen, { end: () => client.disconnect() })
  }

  /** Stops answering without closing a connection. */
  pause() {
    this.child.kill('SIGSTOP')
  }

  resume() {
    this.child.kill('SIGCONT')
  }

  async kill() {
    this.child.kill('SIGKILL')
    await this.exited
  }

  /** Starts again on the same port, with nothing in memory. */
  async restart() {
    await this.kill()
    return this.start()
  }

  async remove() {
    this.clients.forEach(client => client.disconnect())
    await this.kill()
  }
}

async function prepare(t, options) {
  const home = await mkdtemp(join(tmpdir(), 'greyhound-redis-'))
  const server = new Redis({ port: await freePort(), ...(typeof options === 'function' ? await options(home) : options), home })
  t.after(async () => {
    await server.remove()
    await rm(home, { recursive: true, force: true })
  })
  return server
}

/** One server. It goes when the test `t` ends. */
export const redis = async (t, ...config) => (await prepare(t, { config })).start()

/** One server that wants a password; `user` has one too, and may only do what a node of a cluster needs. */
export async function withPassword(t) {
  const server = await prepare(t, { config: [
    'requirepass secret',
    'user greyhound on >hound&co allchannels ~*-greyhound-revocations +@pubsub +@connection +info +zadd +zrem +zrevrangebyscore +zremrangebyscore',
  ] })
  server.client.password = 'secret'
  server.url = `redis://:secret@127.0.0.1:${server.port}`
  server.userUrl = `redis://greyhound:${encodeURIComponent('hound&co')}@127.0.0.1:${server.port}`
  return server.start()
}

/** One server that speaks TLS only, with a certificate that `ca` (a file) vouches for. */
export async function withTls(t) {
  let ca
  const server = await prepare(t, async home => {
    ca = join(home, 'ca.crt')
    await certificates(home)
    return { config: ['tls-auth-clients no', `tls-cert-file ${home}/server.crt`, `tls-key-file ${home}/server.key`, `tls-ca-cert-file ${ca}`] }
  })
  server.config.push(`tls-port ${server.port}`)
  server.client.tls = { rejectUnauthorized: false }
  Object.assign(server, { ca, url: `rediss://127.0.0.1:${server.port}` })
  return server.start()
}

async function certificates(home) {
  const openssl = line => run('openssl', line.split(' '), { cwd: home })
  await openssl('req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=tests -keyout ca.key -out ca.crt')
  await openssl('req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout server.key -out server.csr')
  await writeFile(join(home, 'names'), 'subjectAltName=IP:127.0.0.1,DNS:localhost')
  await openssl('x509 -req -in server.csr -CA ca.crt -CAkey ca.key -CAcreateserial -days 2 -extfile names -out server.crt')
}

/** A primary, a replica and a sentinel that puts the replica in the primary's place within a second or two. */
export async function sentinel(t, name = 'mymaster') {
  const primary = await redis(t)
  const replica = await redis(t, `replicaof 127.0.0.1 ${primary.port}`)
  await until('the replica to be in step', async () => /master_link_status:up/.test(await replica.command('INFO', 'replication')))
  const watch = await (await prepare(t, { mode: ['--sentinel'], config: [
    `sentinel monitor ${name} 127.0.0.1 ${primary.port} 1`, `sentinel down-after-milliseconds ${name} 500`, `sentinel failover-timeout ${name} 2000`,
  ] })).start()
  await until('the sentinel to know the replica', async () => (await watch.command('SENTINEL', 'replicas', name)).length === 1)
  const primaryPort = async () => Number((await watch.command('SENTINEL', 'get-master-addr-by-name', name))[1])
  return { primary, replica, sentinel: watch, name, primaryPort, url: `redis-sentinel://127.0.0.1:${watch.port}?sentinelServiceName=${name}` }
}

/** A Redis Cluster of three masters. */
export async function cluster(t) {
  const nodes = await Promise.all([0, 1, 2].map(async () => (await prepare(t, {
    config: ['cluster-enabled yes', 'cluster-config-file nodes.conf', 'cluster-node-timeout 2000', `cluster-port ${await freePort()}`],
  })).start()))
  const bounds = [0, 5461, 10923, 16384]
  await Promise.all(nodes.map((node, n) => node.command('CLUSTER', 'ADDSLOTSRANGE', bounds[n], bounds[n + 1] - 1)))
  await Promise.all(nodes.map((node, n) => node.command('CLUSTER', 'SET-CONFIG-EPOCH', n + 1)))
  for (const node of nodes.slice(1)) await nodes[0].command('CLUSTER', 'MEET', '127.0.0.1', node.port, node.config.at(-1).split(' ')[1])
  await until('the cluster to be whole', async () => {
    const answers = await Promise.all(nodes.map(node => node.command('CLUSTER', 'INFO')))
    return answers.every(info => info.includes('cluster_state:ok') && info.includes('cluster_known_nodes:3'))
  })
  const [first, ...others] = nodes.map(node => `127.0.0.1:${node.port}`)
  return { nodes, ports: nodes.map(node => node.port), url: `redis-cluster://${first}?${others.map(other => `node=${other}`).join('&')}` }
}
