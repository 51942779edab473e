// Redis goes and comes back: clients stay, what is published here reaches those here, and everybody is told.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { until } from '../clients/greyhound.mjs'
import { login, push } from '../clients/sockets.mjs'
import { allHave } from './essentials.mjs'
import { assembled, greyhound, prepareMember } from './greyhound.mjs'
import { emitter, node } from './node.mjs'
import { cluster, redis, sentinel } from './redis.mjs'

/** The lines of the log from `mark` on that an operator would look into. */
const alarms = (hound, mark = 0) => hound.output.slice(mark).split('\n').filter(line => /\b(WARN|ERROR)\b/.test(line))

const isBack = hound => until('/readyz to be content', async () => (await hound.ready()).ok)

async function isLost(hound) {
  await until('/readyz to name Redis', async () => {
    const { ok, text } = await hound.ready()
    return !ok && /redis/i.test(JSON.parse(text).parts['messaging.redis'])
  })
}

/** A message goes from each of the servers to clients of both. */
async function delivers(servers, sockets, mark) {
  for (const [n, server] of servers.entries()) {
    await server.emit({ rooms: ['user(patient)'], event: 'message', args: [`${mark} ${n}`] })
    await allHave(sockets, `${mark} ${n}`)
  }
}

/** Between `lose` and `regain` the cluster is lost, and neither before nor after. */
async function outage(t, server, { lose, regain, peer, settled }) {
  const hound = await greyhound(t, server, { namespaces: ['/'] })
  await settled()
  const [here, there] = await Promise.all([login(t, hound, 'patient'), login(t, peer, 'patient')])
  await delivers([hound, peer], [here, there], 'before')
  const mark = hound.output.length

  await lose()
  const lost = Date.now()
  await isLost(hound)
  const late = await login(t, hound, 'patient')
  for (const n of [1, 2, 3]) {
    const { recipients, cluster } = await hound.emit({ rooms: ['user(patient)'], event: 'message', args: [`alone ${n}`] })
    assert.equal(recipients, 2)
    assert.equal(cluster.reached, false)
    assert.match(cluster.why, /redis/i)
  }
  await allHave([here, late], 'alone 3')
  await push(here, 'still', 'recorded')
  const known = await hound.sockets({ room: 'user(patient)' })
  assert.deepEqual([known.sockets.map(socket => socket.id).sort(), known.complete], [[here.id, late.id].sort(), false])
  assert.equal(await hound.metric('greyhound_messaging_redis_up'), 0)
  assert.equal(alarms(hound, mark).length, 1, alarms(hound, mark).join('\n'))

  const returns = Date.now()
  await regain()
  await isBack(hound)
  await settled()
  await delivers([hound, peer], [here, there, late], 'after')
  assert.ok(here.connected && late.connected)
  for (const socket of [here, late]) assert.ok(!socket.seen.some(([, text], n, all) => all.findIndex(([, other]) => other === text) !== n), 'something came twice')
  const gap = await hound.row('greyhound.gap', { reason: 'redis' })
  assert.equal(gap.topic, 'messaging.message')
  assert.ok(Date.parse(gap.from_time) <= lost, `${gap.from_time}: messages were missed before`)
  assert.ok(Date.parse(gap.to_time) >= returns, `${gap.to_time}: messages were missed afterwards`)
  assert.equal(await hound.metric('greyhound_messaging_redis_outages_total'), 1)
  assert.equal(alarms(hound, mark).length, 1, alarms(hound, mark).join('\n'))
  await hound.stop()
}

describe('an outage of Redis', { concurrency: 3 }, () => {
  test('that is killed and started again stops nothing on this node, is told, and ends by itself', async t => {
    const server = await redis(t)
    const peer = await node(t, server, { namespaces: ['/'] })
    await outage(t, server, {
      peer, lose: () => server.kill(), regain: () => server.start(), settled: () => assembled(server, 2, { namespaces: ['/'] }),
    })
  })

  test('that hangs stops nothing on this node, is told, and ends by itself', async t => {
    const server = await redis(t)
    const peer = await node(t, server, { namespaces: ['/'] })
    await outage(t, server, {
      peer, lose: () => server.pause(), regain: () => server.resume(), settled: () => assembled(server, 2, { namespaces: ['/'] }),
    })
  })

  test('whose sentinel puts a replica in its place ends with the replica', async t => {
    const group = await sentinel(t)
    const peer = await node(t, { client: 'ioredis', sentinel: group.sentinel, name: group.name }, { namespaces: ['/'] })
    let primary = group.primary
    await outage(t, group, {
      peer,
      lose: () => group.primary.kill(),
      async regain() {
        await until('the failover', async () => await group.primaryPort() === group.replica.port)
        primary = group.replica
      },
      settled: () => assembled(primary, 2, { namespaces: ['/'] }),
    })
  })

  test('that lets go of its subscribers is seen, and is over at once', async t => {
    const server = await redis(t)
    const hound = await greyhound(t, server)
    const peer = await node(t, server)
    await assembled(server, 2)
    const sockets = await Promise.all([hound, peer].map(server => login(t, server, 'patient')))
    await server.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
    await hound.row('greyhound.gap', { reason: 'redis' })
    await isBack(hound)
    await assembled(server, 2)
    await delivers([hound, peer], sockets, 'after')
    await hound.stop()
  })

  test('that is there from the start: Greyhound serves, and joins the cluster when there is one', async t => {
    const server = await redis(t)
    await server.kill()
    const hound = await prepareMember(t, server)
    hound.spawn()
    await until('the gateway', () => fetch(hound.url).then(() => true, () => false))
    await isLost(hound)
    const socket = await login(t, hound, 'patient')
    const { cluster } = await hound.emit({ rooms: ['user(patient)'], event: 'message', args: ['alone'] })
    assert.equal(cluster.reached, false)
    await allHave([socket], 'alone')
    await server.start()
    await isBack(hound)
    await assembled(server, 1)
    const { io } = await emitter(t, 'socket.io-emitter-5', server)
    await io.to('user(patient)').emit('message', 'together')
    await allHave([socket], 'together')
    await hound.stop()
  })

  test('is none where Redis has no memory left for data', async t => {
    const server = await redis(t, 'maxmemory 1mb', 'maxmemory-policy noeviction')
    const [hound, peer] = [await greyhound(t, server), await node(t, server)]
    await assembled(server, 2)
    await assert.rejects(server.command('SET', 'a', 'b'), /OOM/)
    const sockets = await Promise.all([hound, peer].map(server => login(t, server, 'patient')))
    await delivers([hound, peer], sockets, 'full')
    assert.equal(await hound.nodes(), 2)
    await isBack(hound)
    assert.deepEqual(alarms(hound), [])
    await hound.stop()
  })

  test('of one server of a Redis Cluster is an outage, and ends with it', async t => {
    const servers = await cluster(t)
    const hound = await greyhound(t, servers)
    await assembled(servers, 1)
    const socket = await login(t, hound, 'patient')
    const [, second] = servers.nodes
    await second.kill()
    await isLost(hound)
    await second.start()
    await isBack(hound)
    await hound.row('greyhound.gap', { reason: 'redis' })
    for (const [n, server] of servers.nodes.entries()) {
      const { io } = await emitter(t, 'socket.io-emitter-5', server)
      await io.to('user(patient)').emit('message', n)
      await allHave([socket], n)
    }
    await hound.stop()
  })
})
