// A Greyhound that is a member of a cluster, and what is asked of it by HTTP.
import assert from 'node:assert/strict'
import { prepare, until } from '../clients/greyhound.mjs'

const members = {
  async get(path, query = {}) {
    const search = new URLSearchParams(Object.entries(query).flatMap(([key, value]) => [value].flat().map(one => [key, one])))
    const answer = await fetch(`${this.admin}${path}?${search}`)
    const text = await answer.text()
    assert.equal(answer.status, 200, text)
    return JSON.parse(text)
  },
  /** The sockets of the whole cluster: { sockets, complete }. */
  sockets(query) {
    return this.get('/v1/messaging/sockets', query)
  },
  rooms(namespace = '/') {
    return this.get('/v1/messaging/rooms', { namespace })
  },
  async nodes(namespace = '/') {
    return (await this.get('/v1/messaging/nodes', { namespace })).nodes
  },
  /** Makes sockets of the whole cluster `join` or `leave` rooms, or `disconnect`s them. */
  async tell(what, body) {
    const { status, json } = await this.post(`/v1/messaging/${what}`, body)
    assert.ok(status === 200, `${status} ${JSON.stringify(json)}`)
    return json
  },
  /** The value of a metric, over all labels or those with `label`. */
  async metric(name, label = '') {
    const text = await fetch(`${this.admin}/metrics`).then(answer => answer.text())
    return text.split('\n').filter(line => line.startsWith(`${name} `) || (line.startsWith(`${name}{`) && line.includes(label)))
      .reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0)
  },
  async ready() {
    const answer = await fetch(`${this.admin}/readyz`)
    return { ok: answer.ok, text: await answer.text() }
  },
}

/** A Greyhound that is not started. `env` as for `prepare`; keys of the Redis configuration in lower case, such as `prefix`. */
export async function prepareMember(t, redis, { env, namespaces = ['/', '/chat'], ...config } = {}) {
  const settings = { url: redis.url, ...config }
  const node = await prepare(t, { env: {
    PLUGINS__MESSAGING__NAMESPACES: JSON.stringify(namespaces),
    ...Object.fromEntries(Object.entries(settings).map(([key, value]) => [`PLUGINS__MESSAGING__REDIS__${key.toUpperCase()}`, value])),
    ...env,
  } })
  if (redis.ca) node.plainEnv = { SSL_CERT_FILE: redis.ca }
  return Object.assign(node, members)
}

/** A Greyhound in the cluster of this Redis; it is gone when the test `t` ends. */
export const greyhound = async (t, redis, options) => (await prepareMember(t, redis, options)).start()

/** How many have subscribed to a channel, on all of the servers. */
async function subscribers(servers, channel, sharded) {
  const answers = await Promise.all(servers.map(server => server.command('PUBSUB', sharded ? 'SHARDNUMSUB' : 'NUMSUB', channel)))
  return answers.reduce((sum, [, number]) => sum + Number(number), 0)
}

/** Waits until so many nodes of a cluster are there for one another. Without `namespaces`: `/` and `/chat`. */
export const assembled = (redis, count, { namespaces = ['/', '/chat'], prefix = 'socket.io', sharded = false } = {}) =>
  until(`${count} nodes in each namespace`, async () => {
    const channel = namespace => sharded ? `${prefix}#${namespace}#` : `${prefix}-request#${namespace}#`
    const numbers = await Promise.all(namespaces.map(namespace => subscribers(redis.nodes ?? [redis], channel(namespace), sharded)))
    return numbers.every(number => number === count)
  })

/** Waits until so many nodes of a sharded cluster get what is published to a room. */
export const subscribed = (redis, namespace, room, count) =>
  until(`${count} nodes to subscribe to ${room}`, async () => await subscribers(redis.nodes, `socket.io#${namespace}#${room}#`, true) === count)

/** Something that servers and clients may hang on for all tests of a `describe`: `t.after` there, `await t.end(check)` at its end. */
export function shared() {
  const cleanups = []
  return {
    after: cleanup => cleanups.push(cleanup),
    async end(check) {
      try {
        await check()
      } finally {
        for (const cleanup of cleanups.reverse()) await cleanup()
      }
    },
  }
}
