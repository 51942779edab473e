// The other members of a cluster: Node servers, and emitters, as processes of their own that a test drives.
import assert from 'node:assert/strict'
import { fork } from 'node:child_process'
import { join } from 'node:path'
import { freePort, mint, secret } from '../clients/greyhound.mjs'

/** Stands for a callback among the arguments of a call: what it is called with is then the result. */
export const callback = '$callback'

/** An object that writes down what is done with it, and sends that when it is awaited. */
const remote = (send, steps = []) => new Proxy(() => {}, {
  get: (_, name) => name === 'then'
    ? steps.length ? (done, fail) => send(steps).then(done, fail) : undefined
    : remote(send, [...steps, [name]]),
  apply: (_, __, args) => remote(send, [...steps.slice(0, -1), [steps.at(-1)[0], args]]),
})

class Peer {
  constructor(program, options) {
    Object.assign(this, { calls: new Map(), heard: [], output: '' })
    this.child = fork(join(import.meta.dirname, 'peers', program), [JSON.stringify(options), secret], {
      serialization: 'advanced', stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    })
    for (const stream of [this.child.stdout, this.child.stderr]) stream.setEncoding('utf8').on('data', text => (this.output += text))
    this.exited = new Promise(done => this.child.on('close', done))
    this.exited.then(() => this.calls.forEach(({ fail }) => fail(new Error(`${program} ended:\n${this.output}`))))
    /** The server or emitter itself: `await peer.io.to('a').emit('x', 1)` happens there. */
    this.io = remote(steps => this.ask('io', steps))
  }

  ready() {
    return new Promise((done, fail) => {
      this.exited.then(() => fail(new Error(`it ended at start:\n${this.output}`)))
      this.child.on('message', message => {
        if (message === 'ready') return done(this)
        if (message.heard) return this.heard.push(message.heard)
        const { done: resolve, fail: reject } = this.calls.get(message.id)
        this.calls.delete(message.id)
        if (message.error) reject(Object.assign(new Error(message.error), { partial: message.partial }))
        else resolve(message.result)
      })
    })
  }

  ask(object, steps) {
    return new Promise((done, fail) => {
      const id = this.lastId = (this.lastId ?? 0) + 1
      this.calls.set(id, { done, fail })
      this.child.send({ id, object, steps }, error => error && fail(error))
    })
  }

  get alive() {
    return this.child.exitCode === null && this.child.signalCode === null
  }

  async kill() {
    this.child.kill('SIGKILL')
    await this.exited
  }
}

class Node extends Peer {
  /** A token that this server and Greyhound take alike. */
  token(user, claims = {}) {
    return mint({ id: user, ...claims })
  }

  /** Publishes as Greyhound does by HTTP. */
  emit({ rooms, except = [], event, args, namespace = '/' }) {
    const target = rooms.concat(except).length ? this.io.of(namespace).to(rooms).except(except) : this.io.of(namespace)
    return target.emit(event, ...args)
  }
}

async function launch(t, peer) {
  t.after(() => peer.kill())
  return peer.ready()
}

/**
 * A Node server at a Redis: { url } and, where it is of another kind than one server, { client, ports, sentinel, name, ca }.
 * `adapter`: the options of the adapter.
 */
export async function node(t, redis, { version = 4, namespaces = ['/', '/chat'], ...options } = {}) {
  const port = await freePort()
  const name = options.name ?? `node-${port}`
  const { url, client, ports, sentinel, name: group, ca } = redis
  const known = { url, client: typeof client === 'string' ? client : undefined, ports, sentinel: sentinel?.port, name: group, ca }
  const peer = new Node(`socketio-${version}.cjs`, { ...options, name, port, namespaces, redis: known })
  return Object.assign(await launch(t, peer), { name, url: `http://127.0.0.1:${port}` })
}

/** An emitter of npm: `emitter.io.to('a').emit('x', 1)` publishes. */
export const emitter = (t, name, { port }, key) => launch(t, new Peer('emitter.cjs', { package: name, port, key }))

/** Every one of these still runs. */
export const allAlive = peers => peers.forEach(peer => assert.ok(peer.alive, peer.output))
