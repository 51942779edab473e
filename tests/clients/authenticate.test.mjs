// Who gets in, how, and what they are told otherwise.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { mint, start } from './greyhound.mjs'
import { connect, fence, login, next, record, ways } from './sockets.mjs'

describe('authenticate', () => {
  let greyhound
  const cleanups = []
  before(async () => {
    greyhound = await start({ after: f => cleanups.push(f) }, { env: { PLUGINS__MESSAGING__AUTH__TIMEOUT: '2s' } })
  })
  after(async () => {
    await greyhound.stop()
    for (const cleanup of cleanups) await cleanup()
  })

  for (const { generation, way } of ways) {
    test(`a ${generation} client over ${way} authenticates`, async t => {
      const user = `in-${generation}-${way}`
      const socket = await login(t, greyhound, user, { generation, way })
      assert.ok(socket.connected)
      const auth = await greyhound.row('messaging.auth', { user_id: user, outcome: 'accepted' })
      assert.equal(auth.method, 'event')
      assert.equal(auth.reason ?? null, null)
      const opened = (await greyhound.rows('messaging.connection')).find(row => row.seq === auth.connection_seq)
      assert.equal(opened.event, 'opened')
      assert.equal(opened.protocol, generation < '3' ? 3 : 4)
    })
  }

  const unauthorized = (message, code) => ({ message, inner: { message }, data: { message, code, type: 'UnauthorizedError' } })
  const past = Math.floor(Date.now() / 1000) - 3600
  const tampered = () => {
    const [head, , signature] = mint({ id: 1 }).split('.')
    return `${head}.${mint({ id: 2 }).split('.')[1]}.${signature}`
  }
  const wrong = {
    'an expired token': [() => ({ token: mint({ id: 1, exp: past }) }), 'jwt expired', 'expired'],
    "another secret's token": [() => ({ token: mint({ id: 1 }, { key: 'not the secret' }) }), 'invalid signature', 'refused'],
    'a changed token': [() => ({ token: tampered() }), 'invalid signature', 'refused'],
    'no JWT at all': [() => ({ token: 'hello' }), 'jwt malformed', 'refused'],
    'a number for a token': [() => ({ token: 42 }), 'invalid token datatype', 'refused'],
  }
  for (const [name, [body, message, outcome]] of Object.entries(wrong)) {
    for (const generation of ['1.7', '4.8']) {
      test(`${name} is refused, in the words of socketio-jwt, to a ${generation} client`, async t => {
        const agent = `refused ${name} ${generation}`
        const socket = connect(t, greyhound.url, { generation, extraHeaders: { 'User-Agent': agent } })
        const refused = next(socket, 'unauthorized')
        socket.emit('authenticate', body())
        assert.deepEqual(await refused, [unauthorized(message, 'invalid_token')])
        const row = await greyhound.row('messaging.auth', row => row.agent === agent && row.outcome !== 'timeout')
        assert.equal(row.outcome, outcome)
        assert.equal(row.reason, message)
      })
    }
  }

  test('a token without a signature (alg none) is refused', async t => {
    const part = value => Buffer.from(JSON.stringify(value)).toString('base64url')
    const socket = connect(t, greyhound.url)
    const refused = next(socket, 'unauthorized')
    socket.emit('authenticate', { token: `${part({ alg: 'none' })}.${part({ id: 1 })}.` })
    const [why] = await refused
    assert.equal(why.data.type, 'UnauthorizedError')
  })

  for (const [name, body] of [['no token', {}], ['nothing', undefined], ['a text', 'token'], ['null', null], ['a list', [1]]]) {
    test(`${name} in place of a token is refused`, async t => {
      const socket = connect(t, greyhound.url)
      const refused = next(socket, 'unauthorized')
      socket.emit('authenticate', ...(body === undefined ? [] : [body]))
      const [why] = await refused
      assert.equal(why.data.type, 'UnauthorizedError')
      assert.equal(why.message, why.inner.message)
    })
  }

  for (const algorithm of ['HS384', 'HS512']) {
    test(`a token signed with ${algorithm} is accepted`, async t => {
      const socket = connect(t, greyhound.url)
      const accepted = next(socket, 'authenticated')
      socket.emit('authenticate', { token: mint({ sub: `with ${algorithm}` }, { algorithm }) })
      await accepted
      await greyhound.row('messaging.auth', { user_id: `with ${algorithm}`, outcome: 'accepted' })
    })
  }

  for (const generation of ['1.7', '4.8']) {
    test(`a ${generation} client that does not authenticate in time is disconnected`, async t => {
      const agent = `silent ${generation}`
      const socket = connect(t, greyhound.url, { generation, extraHeaders: { 'User-Agent': agent } })
      const [reason] = await next(socket, 'disconnect')
      assert.equal(reason, 'io server disconnect')
      await greyhound.row('messaging.auth', { agent, outcome: 'timeout' })
      const opened = await greyhound.row('messaging.connection', { agent, event: 'opened' })
      await greyhound.row('messaging.connection', { connection_seq: opened.seq, event: 'closed', reason: 'authentication timeout' })
    })
  }

  test('a 4.8 client gives its token in the handshake', async t => {
    const socket = connect(t, greyhound.url, { auth: { token: greyhound.token('by handshake') } })
    await next(socket, 'authenticated')
    record(socket, 'message')
    await greyhound.emit({ rooms: ['user(by handshake)'], event: 'message', args: ['in'] })
    await fence(greyhound, [socket])
    assert.deepEqual(socket.seen, [['message', 'in']])
    await greyhound.row('messaging.auth', { user_id: 'by handshake', method: 'handshake', outcome: 'accepted' })
  })

  test('a 2.5 client gives its token in the query', async t => {
    const socket = connect(t, greyhound.url, { generation: '2.5', query: { token: greyhound.token('by query') } })
    await next(socket, 'authenticated')
  })

  test('a wrong token in the handshake is a connect error with the reason', async t => {
    const socket = connect(t, greyhound.url, { auth: { token: mint({ id: 1, exp: past }) } })
    const [error] = await next(socket, 'connect_error')
    assert.equal(error.message, 'jwt expired')
    await greyhound.row('messaging.auth', row => row.method === 'handshake' && row.outcome === 'expired')
  })

  test('before `authenticated` nothing but `authenticate` is listened to', async t => {
    const socket = connect(t, greyhound.url)
    await next(socket, 'connect')
    socket.emit('too early', 1)
    const accepted = next(socket, 'authenticated')
    socket.emit('authenticate', { token: greyhound.token('early bird') })
    await accepted
    socket.emit('in time', 2)
    await greyhound.row('messaging.push', { user_id: 'early bird', event: 'in time' })
    assert.deepEqual((await greyhound.rows('messaging.push')).filter(row => row.event === 'too early'), [])
  })

  test('who is authenticated joins the room of the site', async t => {
    const visitor = (user, origin) => login(t, greyhound, user, { extraHeaders: { Origin: origin } })
    const here = await visitor('site-1', 'https://shop.example.co.uk:8443')
    const there = await visitor('site-2', 'https://example.com')
    await greyhound.emit({ rooms: ['site(example.co.uk)'], event: 'message', args: ['sale'] })
    await fence(greyhound, [here, there])
    assert.deepEqual(here.seen, [['message', 'sale']])
    assert.deepEqual(there.seen, [])
  })

  test('no row holds a token', async () => {
    for (const topic of ['messaging.auth', 'messaging.connection', 'messaging.push']) {
      assert.ok(!JSON.stringify(await greyhound.rows(topic)).includes('eyJ'), topic)
    }
    assert.ok(!greyhound.output.includes('eyJ'))
  })
})
