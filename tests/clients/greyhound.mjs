// Starts the real program on free ports with a data directory of its own, talks to it, stops it.
import { execFile, spawn } from 'node:child_process'
import assert from 'node:assert/strict'
import { createHmac, randomInt } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '../..')
export const program = join(root, 'target/release/greyhound')
export const secret = 'the secret of the tests, long enough for HS512 too'

/** Polls `probe` until it returns something truthy; fails with `what` after `limit` ms. */
export async function until(what, probe, limit = 60_000) {
  const deadline = Date.now() + limit
  for (;;) {
    const value = await probe()
    if (value) return value
    if (Date.now() > deadline) assert.fail(`waited ${limit} ms in vain for ${what}`)
    await new Promise(done => setTimeout(done, 20))
  }
}

/** A JWT (HMAC) with `claims`; by default good for an hour. */
export function mint(claims, { key = secret, algorithm = 'HS256' } = {}) {
  const now = Math.floor(Date.now() / 1000)
  return sign(JSON.stringify({ iat: now, exp: now + 3600, ...claims }), { key, algorithm })
}

/** A JWT (HMAC) whose claims are this text, letter by letter. */
export function sign(claims, { key = secret, algorithm = 'HS256' } = {}) {
  const part = text => Buffer.from(text).toString('base64url')
  const text = `${part(JSON.stringify({ alg: algorithm, typ: 'JWT' }))}.${part(claims)}`
  return `${text}.${createHmac(`sha${algorithm.slice(2)}`, key).update(text).digest('base64url')}`
}

const given = new Set()

/** A port that nobody uses, another one each time: below those that the system gives to outgoing connections, so that none takes it before it is bound. */
export async function freePort() {
  for (;;) {
    const port = randomInt(11_000, 32_000)
    if (given.has(port)) continue
    given.add(port)
    const server = createServer()
    const isFree = await new Promise(done => server.on('error', () => done(false)).listen(port, '127.0.0.1', () => done(true)))
    if (!isFree) continue
    await new Promise(done => server.close(done))
    return port
  }
}

/** The environment without anything that configures Greyhound. */
function cleanEnvironment() {
  const ours = name => name.startsWith('GREYHOUND__') || ['PORT', 'RUST_LOG', 'NO_COLOR'].includes(name)
  return Object.fromEntries(Object.entries(process.env).filter(([name]) => !ours(name)))
}

export class Greyhound {
  /** A program that is not running yet. `env` overrides configuration: keys such as `NODE__NAME`; `program` is another one than greyhound. */
  constructor({ home, port, adminPort, env = {}, program: path = program }) {
    Object.assign(this, { home, port, adminPort, program: path, output: '' })
    this.url = `http://127.0.0.1:${port}`
    this.admin = `http://127.0.0.1:${adminPort}`
    this.dataDir = join(home, 'data')
    this.tables = join(home, 'tables')
    this.settings = {
      NODE__DATA_DIR: this.dataDir,
      ADMIN__LISTEN: `127.0.0.1:${adminPort}`,
      PLUGINS__MESSAGING__LISTEN: `127.0.0.1:${port}`,
      PLUGINS__MESSAGING__AUTH__SECRET: secret,
      PLUGINS__ACTIVITY__STORE: this.tables,
      PLUGINS__ACTIVITY__FRESHNESS: '1s',
      ...env,
    }
  }

  get env() {
    const set = Object.entries(this.settings).filter(([, value]) => value !== undefined)
    return { ...cleanEnvironment(), ...Object.fromEntries(set.map(([key, value]) => [`GREYHOUND__${key}`, value])), ...this.plainEnv }
  }

  /** Starts the process without waiting until it is ready. */
  spawn(...args) {
    this.output = ''
    this.child = spawn(this.program, args, { cwd: this.home, env: this.env, stdio: ['ignore', 'pipe', 'pipe'] })
    for (const stream of [this.child.stdout, this.child.stderr]) {
      stream.setEncoding('utf8').on('data', text => (this.output += text))
    }
    this.exited = new Promise((done, fail) => {
      this.child.on('error', fail)
      this.child.on('close', (code, signal) => done({ code, signal }))
    })
    return this
  }

  async start() {
    this.spawn()
    let gone
    this.exited.then(how => (gone = how))
    await until(`readiness\n${this.output}`, async () => {
      if (gone) assert.fail(`it ended at start (${JSON.stringify(gone)}):\n${this.output}`)
      return fetch(`${this.admin}/readyz`).then(answer => answer.ok, () => false)
    })
    return this
  }

  /** SIGTERM, then a clean end. */
  async stop() {
    if (this.child.exitCode !== null || this.child.signalCode) return
    this.child.kill('SIGTERM')
    const how = await this.exited
    assert.deepEqual(how, { code: 0, signal: null }, this.output)
  }

  /** SIGKILL: no chance to finish anything. */
  async kill() {
    this.child.kill('SIGKILL')
    await this.exited
  }

  async restart() {
    await this.kill()
    return this.start()
  }

  token(user, claims = {}) {
    return mint({ id: user, ...claims })
  }

  /** Publishes a message by HTTP and returns the answer's body; a refusal is an error. */
  async emit(body) {
    const { status, json } = await this.post('/v1/messaging/emit', body)
    assert.equal(status, 200, JSON.stringify(json))
    return json
  }

  async post(path, body, headers = {}) {
    const text = typeof body === 'string' ? body : JSON.stringify(body)
    const answer = await fetch(this.admin + path, {
      method: 'POST', headers: { 'content-type': 'application/json', ...headers }, body: text,
    })
    const reply = await answer.text()
    let json
    try { json = JSON.parse(reply) } catch { json = reply }
    return { status: answer.status, json }
  }

  /** The durable rows of a topic that are still kept. */
  async rows(topic) {
    const answer = await fetch(`${this.admin}/v1/topics/${topic}/tail?from=0&follow=false&limit=100000`)
    const text = await answer.text()
    assert.equal(answer.status, 200, text)
    return text.split('\n').filter(Boolean).map(line => JSON.parse(line))
  }

  /** Waits until the topic has a row like `wanted` (an object of columns, or a predicate) and returns it. */
  row(topic, wanted) {
    const fits = typeof wanted === 'function' ? wanted
      : row => Object.entries(wanted).every(([key, value]) => row[key] === value)
    return until(`a row of ${topic} like ${JSON.stringify(wanted)}`, async () => (await this.rows(topic)).find(fits))
  }

  /** Runs a subcommand of the program to its end. */
  cli(...args) {
    return new Promise(done => execFile(this.program, args, { cwd: this.home, env: this.env, timeout: 30_000 },
      (error, stdout, stderr) => done({ code: error ? error.code ?? error.signal : 0, stdout, stderr })))
  }

  async remove() {
    if (this.child && this.child.exitCode === null && !this.child.signalCode) await this.kill()
    this.beforeRemoval?.()
    await rm(this.home, { recursive: true, force: true })
  }
}

/** A Greyhound that is not started, in a new directory; it goes when the test `t` ends. */
export async function prepare(t, options = {}) {
  const home = options.home ?? await mkdtemp(join(tmpdir(), 'greyhound-'))
  const greyhound = new Greyhound({ port: await freePort(), adminPort: await freePort(), ...options, home })
  t.after(() => greyhound.remove())
  return greyhound
}

/** A Greyhound that is ready; it is gone when the test `t` ends. */
export const start = async (t, options) => (await prepare(t, options)).start()
