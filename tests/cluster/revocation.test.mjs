// Tokens that are revoked on one node are revoked on all: at once, on those that were down, and whatever becomes of Redis.
import assert from 'node:assert/strict'
import { describe, test } from 'node:test'
import { mint, until } from '../clients/greyhound.mjs'
import { revoke, verdict } from '../clients/revocation.mjs'
import { login, next } from '../clients/sockets.mjs'
import { assembled, greyhound, prepareMember } from './greyhound.mjs'
import { cluster, redis, sentinel, withPassword } from './redis.mjs'

const reached = { reached: true }
const namespaces = ['/']

/** A token from before any revocation in these tests. */
const token = mint({ id: 'leaver', jti: 'left' })

/** Waits until a node refuses it, or accepts it again. */
const refuses = (t, hound) => until('the token to be refused', async () => await verdict(t, hound, token) === 'jwt revoked')
const accepts = (t, hound) => until('the token to be accepted', async () => await verdict(t, hound, token) === 'authenticated')

/** A node that was a member, and is stopped. */
async function wasMember(t, server, options) {
  const hound = await greyhound(t, server, { namespaces, ...options })
  await hound.stop()
  return hound
}

describe('a revocation on one node', { concurrency: 3 }, () => {
  test('holds at once on the others, and on one that was down', async t => {
    const server = await redis(t)
    const down = await wasMember(t, server)
    const [here, there] = await Promise.all([1, 2].map(() => greyhound(t, server, { namespaces })))
    await assembled(server, 2, { namespaces })
    const socket = await login(t, there, 'leaver', { claims: { sid: 'session' } })
    const [told, gone] = [next(socket, 'unauthorized'), next(socket, 'disconnect')]
    assert.deepEqual(await revoke(here, { user: 'leaver' }), { local_sockets: 0, cluster: reached })
    assert.equal((await told)[0].message, 'jwt revoked')
    await gone
    assert.equal(await verdict(t, there, token), 'jwt revoked')
    assert.equal((await there.row('messaging.revocation', { user_id: 'leaver' })).source, 'cluster')
    await down.start()
    assert.equal(await verdict(t, down, token), 'jwt revoked')

    const answer = await fetch(`${there.admin}/v1/messaging/revocations?user=leaver`, { method: 'DELETE' })
    assert.deepEqual(await answer.json(), { cluster: reached })
    for (const hound of [here, down]) await accepts(t, hound)
    assert.deepEqual((await server.command('ZRANGE', 'socket.io-greyhound-revocations', '0', '-1')).length, 1, 'what is outdated is removed')
    for (const hound of [here, there, down]) await hound.stop()
  })

  test('that cannot reach Redis holds there, and on the others once it can', async t => {
    const server = await redis(t)
    const [here, there] = await Promise.all([1, 2].map(() => greyhound(t, server, { namespaces })))
    await assembled(server, 2, { namespaces })
    const socket = await login(t, there, 'leaver')
    const gone = next(socket, 'disconnect')
    await server.kill()
    await until('the outage to be noticed', async () => !(await here.ready()).ok && !(await there.ready()).ok)
    const { cluster } = await revoke(here, { user: 'leaver' })
    assert.equal(cluster.reached, false)
    assert.match(cluster.why, /Redis cannot be reached/)
    const again = await here.cli('revoke', '--user', 'leaver')
    assert.equal(again.code, 3)
    assert.match(again.stderr, /the other nodes were not told: .*; they will be, once/)
    assert.equal(await verdict(t, here, token), 'jwt revoked')
    assert.ok(socket.connected)
    await server.start()
    await gone
    await refuses(t, there)
    for (const hound of [here, there]) await hound.stop()
  })

  test('holds on a new node although Redis was restarted with nothing in it, and on one whose Redis is down', async t => {
    const server = await redis(t)
    const [here, there] = await Promise.all([1, 2].map(() => greyhound(t, server, { namespaces })))
    await assembled(server, 2, { namespaces })
    await revoke(here, { user: 'leaver' })
    await refuses(t, there)
    await server.restart()
    await until('the revocation to be in Redis again', async () => await server.command('ZCARD', 'socket.io-greyhound-revocations') === 1)
    const fresh = await greyhound(t, server, { namespaces })
    assert.equal(await verdict(t, fresh, token), 'jwt revoked')
    await fresh.stop()
    await server.kill()
    fresh.spawn()
    await until('the gateway', () => fetch(fresh.url).then(() => true, () => false))
    assert.equal(await verdict(t, fresh, token), 'jwt revoked')
    for (const hound of [here, there, fresh]) await hound.stop()
  })

  for (const [kind, prepare] of [
    ['Redis Cluster', async t => ({ server: await cluster(t), config: { mode: 'classic' } })],
    ['Redis Cluster, sharded', async t => ({ server: await cluster(t), config: { mode: 'sharded' } })],
    ['Sentinel', async t => ({ server: await sentinel(t), config: {} })],
  ]) {
    test(`holds on all nodes with ${kind}`, async t => {
      const { server, config } = await prepare(t)
      const down = await wasMember(t, server, config)
      const [here, there] = await Promise.all([1, 2].map(() => greyhound(t, server, { namespaces, ...config })))
      await until('both nodes', () => here.nodes().then(nodes => nodes === 2, () => false))
      assert.deepEqual((await revoke(here, { jti: 'left' })).cluster, reached)
      await refuses(t, there)
      await down.start()
      assert.equal(await verdict(t, down, token), 'jwt revoked')
      for (const hound of [here, there, down]) await hound.stop()
    })
  }

  test('is told to the others if Redis cannot keep it, and that is reported', async t => {
    const full = await redis(t, 'maxmemory 1mb', 'maxmemory-policy noeviction')
    const denied = await withPassword(t)
    await denied.command('ACL', 'SETUSER', 'greyhound', 'resetkeys')
    for (const [server, url, why] of [[full, full.url, /OOM/], [denied, denied.userUrl, /NOPERM .*for revocations/]]) {
      const [here, there] = await Promise.all([1, 2].map(() => greyhound(t, { url }, { namespaces })))
      await assembled(server, 2, { namespaces })
      const { cluster } = await revoke(here, { user: 'leaver' })
      assert.equal(cluster.reached, false)
      assert.match(cluster.why, why)
      await refuses(t, there)
      await until('the log to say it', () => /WARN.*revocations are not shared/.test(here.output))
      for (const hound of [here, there]) await hound.stop()
    }
    await denied.command('ACL', 'SETUSER', 'greyhound', '~*')
    const hound = await greyhound(t, { url: denied.userUrl }, { namespaces })
    await assembled(denied, 1, { namespaces })
    assert.deepEqual((await revoke(hound, { user: 'leaver' })).cluster, reached)
    await hound.stop()
  })
})
