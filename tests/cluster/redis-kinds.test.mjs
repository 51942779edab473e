// The classic protocol over every kind of Redis that a Node cluster stands on.
import assert from 'node:assert/strict'
import { createRequire } from 'node:module'
import { describe, test } from 'node:test'
import { freePort, until } from '../clients/greyhound.mjs'
import { login } from '../clients/sockets.mjs'
import { allHave } from './essentials.mjs'
import { assembled, greyhound, prepareMember } from './greyhound.mjs'
import { allAlive, callback, emitter, node } from './node.mjs'
import { cluster, redis, sentinel, withPassword, withTls } from './redis.mjs'

const msgpack = createRequire(import.meta.url)('notepack.io')

/** A Node server and a Greyhound at this Redis: messages, questions and answers go both ways. */
async function together(t, server, peer, hound, options) {
  await assembled(server, 2, options)
  const sockets = await Promise.all([peer, hound].map(server => login(t, server, 'kin')))
  for (const [n, publisher] of [peer, hound].entries()) {
    for (const rooms of [['user(kin)'], ['user(kin)', 'user(nobody)'], []]) {
      await publisher.emit({ rooms, event: 'message', args: [`${n} ${rooms}`] })
      await allHave(sockets, `${n} ${rooms}`)
    }
  }
  for (const socket of sockets) assert.equal(socket.seen.length, 6)
  const ids = sockets.map(socket => socket.id).sort()
  const asHound = await hound.sockets()
  assert.deepEqual([asHound.sockets.map(socket => socket.id).sort(), asHound.complete], [ids, true])
  assert.deepEqual((await peer.io.fetchSockets()).map(socket => socket.id).sort(), ids)
  assert.equal(await hound.nodes(), 2)
  assert.equal((await peer.io.serverSideEmit('ask', callback)).length, 1)
  allAlive([peer])
  await hound.stop()
}

describe('a cluster', { concurrency: 3 }, () => {
  test('stands on a Redis Cluster, and takes what emitters publish at any of its servers', async t => {
    const servers = await cluster(t)
    const kind = { client: 'ioredis', ports: servers.ports }
    const [peer, hound, second] = await Promise.all([node(t, kind), greyhound(t, servers), greyhound(t, servers, { subscription: 'rooms' })])
    await assembled(servers, 3)
    const sockets = await Promise.all([peer, hound, second].map(server => login(t, server, 'scattered')))
    for (const [n, server] of servers.nodes.entries()) {
      const { io } = await emitter(t, 'socket.io-emitter-5', server)
      await io.to('user(scattered)').emit('message', n)
      await allHave(sockets, n)
    }
    for (const socket of sockets) assert.equal(socket.seen.length, 3)
    sockets.forEach(socket => socket.disconnect())
    await second.stop()
    await together(t, servers, peer, hound)
  })

  test('stands on a primary that a sentinel names', async t => {
    const group = await sentinel(t)
    const [peer, hound] = await Promise.all([node(t, { client: 'ioredis', sentinel: group.sentinel, name: group.name }), greyhound(t, group)])
    await together(t, group.primary, peer, hound)
  })

  test('stands on a primary that the second of two sentinels names', async t => {
    const group = await sentinel(t)
    const nobody = await freePort()
    const url = `redis-sentinel://127.0.0.1:${nobody}?node=127.0.0.1:${group.sentinel.port}&sentinelServiceName=${group.name}`
    const [peer, hound] = await Promise.all([node(t, { client: 'ioredis', sentinel: group.sentinel, name: group.name }), greyhound(t, { url })])
    await together(t, group.primary, peer, hound)
  })

  const channel = 'socket.io#/#user(mover)#'
  for (const [mode, publish] of [['classic', 'PUBLISH'], ['sharded', 'SPUBLISH']]) {
    test(`of mode ${mode} goes on when slots move to another server of a Redis Cluster`, async t => {
      const servers = await cluster(t)
      const hound = await greyhound(t, servers, { mode })
      await assembled(servers, 1, { sharded: mode === 'sharded' })
      const socket = await login(t, hound, 'mover')
      const slot = await servers.nodes[0].command('CLUSTER', 'KEYSLOT', channel)
      const ids = await Promise.all(servers.nodes.map(server => server.command('CLUSTER', 'MYID')))
      const from = [5461, 10923, 16384].findIndex(end => slot < end)
      const to = (from + 1) % 3
      await servers.nodes[to].command('CLUSTER', 'SETSLOT', slot, 'NODE', ids[to])
      await servers.nodes[from].command('CLUSTER', 'SETSLOT', slot, 'NODE', ids[to])
      const opts = { rooms: ['user(mover)'], except: [], flags: {} }
      const packet = { type: 2, data: ['message', 'moved'], nsp: '/' }
      const body = mode === 'classic' ? msgpack.encode(['emitter', packet, opts]) : JSON.stringify({ type: 3, uid: 'abcdef', nsp: '/', data: { packet, opts } })
      await until('a message by the new server', async () => {
        await servers.nodes[to].command(publish, channel, body).catch(() => {})
        return socket.seen.length > 0
      })
      await until('/readyz to be content', async () => (await hound.ready()).ok)
      await hound.row('greyhound.gap', { reason: 'redis' })
      assert.ok(socket.connected)
      await hound.stop()
    })
  }

  test('stands on a Redis with TLS', async t => {
    const server = await withTls(t)
    const [peer, hound] = await Promise.all([node(t, server), greyhound(t, server)])
    await together(t, server, peer, hound)
  })

  test('is not joined over TLS where nobody vouches for the certificate', async t => {
    const server = await withTls(t)
    const hound = await prepareMember(t, { url: server.url })
    hound.spawn()
    await until('the log to say it', () => /Redis cannot be reached/.test(hound.output))
    assert.match(hound.output, /certificate/i)
    await hound.kill()
  })

  test('stands on a Redis with a password', async t => {
    const server = await withPassword(t)
    const [peer, hound] = await Promise.all([node(t, server), greyhound(t, server)])
    await together(t, server, peer, hound)
    assert.ok(!hound.output.includes('secret@'), 'the password is shown')
  })

  test('is joined by a user who may do little else', async t => {
    const server = await withPassword(t)
    const [peer, hound] = await Promise.all([node(t, { url: server.userUrl }), greyhound(t, { url: server.userUrl })])
    await together(t, server, peer, hound)
    assert.ok(!hound.output.includes('hound&co') && !hound.output.includes('hound%26co'), 'the password is shown')
  })

  test('stands on a Redis whose passwords have spaces, quotes and other signs', async t => {
    for (const password of ['a b"c', "it's 100% \\ sûr", '"', 'two  spaces']) {
      const server = await redis(t)
      await server.command('ACL', 'SETUSER', 'some"one', 'on', `>${password}`, 'allchannels', '+@pubsub', '+@connection', '+info')
      await server.command('CONFIG', 'SET', 'requirepass', password)
      for (const user of ['', encodeURIComponent('some"one')]) {
        const hound = await greyhound(t, { url: `redis://${user}:${encodeURIComponent(password)}@127.0.0.1:${server.port}` })
        await until('Redis to answer', () => hound.nodes().then(nodes => nodes === 1, () => false))
        await hound.stop()
      }
    }
  })

  test('says what Redis says when the password was changed, on /readyz and in the log', async t => {
    const server = await withPassword(t)
    const hound = await greyhound(t, server)
    await server.command('CONFIG', 'SET', 'requirepass', 'another')
    await server.command('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes')
    await server.command('CLIENT', 'KILL', 'TYPE', 'pubsub')
    const told = new RegExp(`127\\.0\\.0\\.1:${server.port}: WRONGPASS .*; correct the user and the password in plugins\\.messaging\\.redis\\.url`)
    await until('/readyz to say it', async () => told.test((await hound.ready()).text))
    await until('the log to say it', () => told.test(hound.output))
    const { cluster } = await hound.emit({ event: 'message' })
    assert.match(cluster.why, told)
    assert.equal(hound.output.split('WRONGPASS').length, 2, hound.output)
    await server.command('CONFIG', 'SET', 'requirepass', 'secret')
    await until('/readyz to be content', async () => (await hound.ready()).ok)
    await hound.stop()
  })

  test('is tried by validate --connect', async t => {
    const [server, tls] = await Promise.all([withPassword(t), withTls(t)])
    const nobody = await freePort()
    const place = `127\\.0\\.0\\.1:${server.port}`
    for (const [url, told, ca] of [
      [server.url, new RegExp(`redis +ok +${place} answers, after \\d+ ms\\n +messaging +redis channels +ok +what is published comes back`)],
      [server.userUrl, /redis channels +ok/],
      [tls.url, /redis channels +ok/, tls.ca],
      [tls.url, /redis +FAILS .*invalid certificate: unknown issuer; set SSL_CERT_FILE to/],
      [tls.url.replace('rediss', 'redis'), /redis +FAILS /],
      [server.url.replace('secret', 'mistaken'), new RegExp(`redis +FAILS +plugins\\.messaging\\.redis\\.url: ${place}: WRONGPASS .*; correct the user and the password`)],
      [server.url.replace(':secret@', ''), new RegExp(`redis +FAILS .*${place}: NOAUTH .*; add the user and the password`)],
      [`redis://127.0.0.1:${nobody}`, /redis +FAILS .*: Connection refused; start Redis there, or correct[^]*redis channels +not tried/],
      ['redis://no-such-host.invalid', /redis +FAILS .*no-such-host\.invalid:6379: .*; correct the host/],
    ]) {
      const hound = await prepareMember(t, { url, ca })
      const { code, stdout, stderr } = await hound.cli('validate', '--connect')
      assert.match(stdout, told, stderr)
      assert.equal(code, / FAILS /.test(stdout) ? 1 : 0, stdout)
      assert.ok(!/[{}]|ErrorKind|Some\(|secret@|mistaken/.test(stdout), stdout)
    }
    await server.command('ACL', 'SETUSER', 'greyhound', 'resetchannels')
    const { stdout } = await (await prepareMember(t, { url: server.userUrl })).cli('validate', '--connect')
    assert.match(stdout, /redis +ok .*\n.*redis channels +FAILS .*NOPERM .*; the user needs `allchannels/)
  })

  test('is counted by greyhound emit, which says when it was not reached', async t => {
    const server = await redis(t)
    const [one, two] = await Promise.all([greyhound(t, server), greyhound(t, server)])
    await assembled(server, 2)
    const socket = await login(t, two, 'counted')
    const emit = () => one.cli('emit', '--room', 'user(counted)', 'message', '1')
    const first = await emit()
    assert.match(first.stdout, /^message \S+: 0 recipients on this node; published to 1 other node, whose recipients are not counted here\n$/)
    assert.equal(first.code, 0)
    await allHave([socket], 1)
    await two.stop()
    await until('it to be alone', async () => await one.nodes() === 1)
    assert.match((await emit()).stdout, /: 0 recipients on this node, which is the only one in the cluster\n$/)
    await server.kill()
    await until('/readyz to name Redis', async () => !(await one.ready()).ok)
    const last = await emit()
    assert.equal(last.code, 3)
    assert.match(last.stdout, /: 0 recipients on this node\n$/)
    assert.match(last.stderr, new RegExp(`error: the cluster did not confirm the message: Redis cannot be reached: 127\\.0\\.0\\.1:${server.port}: .*do not send it again`))
    await one.stop()
  })

  test('is not joined with a wrong password, and the log says why without showing it', async t => {
    const server = await withPassword(t)
    const hound = await prepareMember(t, { url: server.url.replace('secret', 'mistaken') })
    hound.spawn()
    await until('the log to say it', () => /Redis cannot be reached/.test(hound.output))
    assert.match(hound.output, /WRONGPASS|password|authenti/i)
    assert.ok(!hound.output.includes('mistaken'), hound.output)
    await hound.kill()
  })

  test('has a prefix of its own, and hears nothing of another one', async t => {
    const server = await redis(t)
    const [peer, hound, stranger] = await Promise.all([
      node(t, server, { adapter: { key: 'app:one*' } }), greyhound(t, server, { prefix: 'app:one*' }), greyhound(t, server, { prefix: 'app:one' }),
    ])
    const elsewhere = await login(t, stranger, 'kin')
    const { io } = await emitter(t, 'socket.io-emitter-5', server, 'app:one*')
    await assembled(server, 2, { prefix: 'app:one*' })
    const socket = await login(t, hound, 'kin')
    await io.to('user(kin)').emit('message', 'by an emitter')
    await allHave([socket], 'by an emitter')
    const old = await emitter(t, 'socket.io-emitter-0.2', server, 'app:one*')
    await old.io.to('user(kin)').emit('message', 'by an old emitter')
    await allHave([socket], 'by an old emitter')
    socket.disconnect()
    await together(t, server, peer, hound, { prefix: 'app:one*' })
    await stranger.emit({ rooms: ['user(kin)'], event: 'message', args: ['own'] })
    await allHave([elsewhere], 'own')
    assert.equal(elsewhere.seen.length, 1)
    await stranger.stop()
  })
})
