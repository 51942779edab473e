// Who gets in, how, and what they are told otherwise.
import { createServer } from 'node:http'
import { createRequire } from 'node:module'
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { mint, sign, start, until } from './greyhound.mjs'
import { connect, fence, generations, login, next, record, ways } from './sockets.mjs'

const require = createRequire(import.meta.url)
const WebSocket = require('ws')

/** The address of a Node server that refuses handshakes with a token, as socketio-jwt does. */
async function refusing(cleanups) {
  const { Server } = require('socket.io-4')
  const http = createServer()
  const io = new Server(http, { allowEIO3: true })
  const refuse = ({ handshake: { auth, query } }, next) => {
    const message = 'jwt malformed'
    next(auth.token || query.token ? Object.assign(new Error(message), { data: { message, code: 'invalid_token', type: 'UnauthorizedError' } }) : undefined)
  }
  io.use(refuse)
  io.of('/chat').use(refuse)
  await new Promise(done => http.listen(0, '127.0.0.1', done))
  cleanups.push(() => io.close())
  return `http://127.0.0.1:${http.address().port}`
}

describe('authenticate', () => {
  let greyhound, node
  const cleanups = []
  before(async () => {
    greyhound = await start({ after: f => cleanups.push(f) }, {
      env: { PLUGINS__MESSAGING__AUTH__TIMEOUT: '2s', PLUGINS__MESSAGING__NAMESPACES: '["/", "/chat"]' },
    })
    node = await refusing(cleanups)
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
        const [why, callback, ...more] = await refused
        assert.deepEqual([why, typeof callback, more], [unauthorized(message, 'invalid_token'), 'function', []])
        const row = await greyhound.row('messaging.auth', row => row.agent === agent && row.outcome !== 'timeout')
        assert.equal(row.outcome, outcome)
        assert.equal(row.reason, message)
        // Only a genuine token says who it is.
        assert.equal(row.user_id ?? null, outcome === 'expired' ? '1' : null)
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
    assert.deepEqual(error.data, { message: 'jwt expired', code: 'invalid_token', type: 'UnauthorizedError' })
    await greyhound.row('messaging.auth', row => row.method === 'handshake' && row.outcome === 'expired')
  })

  for (const { generation, way } of ways) {
    test(`a ${generation} client over ${way} is told of a refused handshake what Node tells it`, async t => {
      const old = generation < '3'
      const told = async (url, path, token) => {
        const socket = connect(t, url + path, { generation, way, ...old ? { query: { token } } : { auth: { token } } })
        const [error] = await next(socket, old ? 'error' : 'connect_error')
        return old ? error : { message: error.message, data: error.data }
      }
      for (const path of ['', '/chat', '/nowhere']) {
        const token = path === '/nowhere' ? '' : 'hello'
        assert.deepEqual(await told(greyhound.url, path, token), await told(node, path, token), path)
      }
    })
  }

  for (const generation of generations) {
    test(`a ${generation} client that calls the callback of \`unauthorized\` is disconnected, as by socketio-jwt`, async t => {
      const agent = `calls back ${generation}`
      const socket = connect(t, greyhound.url, { generation, extraHeaders: { 'User-Agent': agent } })
      // As the client in the README of socketio-jwt.
      socket.on('unauthorized', (error, callback) => {
        if (error.data.type === 'UnauthorizedError' || error.data.code === 'invalid_token') callback()
      })
      const gone = next(socket, 'disconnect')
      socket.emit('authenticate', { token: 'hello' })
      assert.deepEqual((await gone)[0], 'io server disconnect')
      const { seq } = await greyhound.row('messaging.connection', { agent, event: 'opened' })
      await greyhound.row('messaging.connection', { connection_seq: seq, event: 'closed', reason: 'unauthorized' })
    })
  }

  test('who does not call it back may try again', async t => {
    const socket = connect(t, greyhound.url)
    const refused = next(socket, 'unauthorized')
    socket.emit('authenticate', { token: 'hello' })
    await refused
    const accepted = next(socket, 'authenticated')
    socket.emit('authenticate', { token: greyhound.token('second try') })
    await accepted
  })

  for (const flood of [false, true]) {
    test(`the tenth refusal disconnects${flood ? ', whatever else is on its way' : ''}`, async t => {
      const agent = `guesses ${flood}`
      const socket = connect(t, greyhound.url, { extraHeaders: { 'User-Agent': agent } })
      await next(socket, 'connect')
      const gone = next(socket, 'disconnect')
      const guess = () => socket.emit('authenticate', { token: 'hello' })
      if (!flood) socket.on('unauthorized', guess)
      for (let n = 0; n < (flood ? 100 : 1); n++) guess()
      const [reason] = await gone
      if (!flood) assert.equal(reason, 'io server disconnect')
      const { seq } = await greyhound.row('messaging.connection', { agent, event: 'opened' })
      await greyhound.row('messaging.connection', { connection_seq: seq, event: 'closed', reason: 'too many refusals' })
      assert.equal((await greyhound.rows('messaging.auth')).filter(row => row.agent === agent).length, 10)
    })
  }

  test('a connection has ten refusals in its handshakes as well', async t => {
    const agent = 'guesses in handshakes'
    const socket = new WebSocket(`${greyhound.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`, { headers: { 'User-Agent': agent } })
    t.after(() => socket.terminate())
    let answers = 0
    socket.on('message', data => String(data).startsWith('44') && answers++)
    await new Promise(done => socket.on('open', done))
    for (let n = 0; n < 50; n++) {
      if (socket.readyState !== WebSocket.OPEN) break
      const before = answers
      socket.send('40{"token":"hello"}')
      await until('an answer', () => answers > before || socket.readyState !== WebSocket.OPEN)
    }
    await fence(greyhound, [await login(t, greyhound, 'after the guesses')])
    const rows = (await greyhound.rows('messaging.auth')).filter(row => row.agent === agent)
    assert.equal(rows.length, 10)
  })

  test('headers are recorded as text, and no more of them than 512 bytes', async t => {
    // Node sends each character as one byte.
    const header = text => Buffer.from(text).toString('latin1')
    const socket = await login(t, greyhound, 'wordy', { extraHeaders: { 'User-Agent': header(`Grüße ☃ ${'x'.repeat(12_000)}`), Origin: header('https://bücher.example') } })
    const { seq, agent, origin } = await greyhound.row('messaging.connection', row => row.event === 'opened' && row.agent?.startsWith('Grüße ☃ x'))
    assert.deepEqual([Buffer.from(agent).length, origin], [512, 'https://bücher.example'])
    assert.equal((await greyhound.row('messaging.auth', { user_id: 'wordy' })).agent, agent)
    socket.disconnect()
    await greyhound.row('messaging.connection', { connection_seq: seq, event: 'closed' })
  })

  for (const id of ['42.0', '4.2e1', '-0.0', '0.1', '9007199254740993', '18446744073709551615', '1e21', '1e-7', '"042"']) {
    test(`the id ${id} is in the room that it has with Node`, async t => {
      const user = `${JSON.parse(id)}`
      const socket = connect(t, greyhound.url, { auth: { token: sign(`{"id":${id}}`) } })
      await next(socket, 'authenticated')
      const { recipients } = await greyhound.emit({ rooms: [`user(${user})`], event: 'message', args: [] })
      assert.equal(recipients, 1)
      await greyhound.row('messaging.auth', { user_id: user, outcome: 'accepted' })
    })
  }

  test('who authenticates anew as somebody else is that from then on, in every room', async t => {
    const [changing, staying] = [await login(t, greyhound, 'Jekyll'), await login(t, greyhound, 'Utterson')]
    for (const room of ['user(Jekyll)', 'user(Utterson)']) await greyhound.post('/v1/messaging/join', { rooms: [room], targets: ['laboratory'] })
    // So that there are rosters with the user that it was.
    const said = to => greyhound.emit({ rooms: to, event: 'message', args: ['said'] })
    for (const to of [[], ['laboratory'], [changing.id]]) await said(to)
    const accepted = next(changing, 'authenticated')
    changing.emit('authenticate', { token: greyhound.token('Hyde') })
    await accepted

    assert.deepEqual((await Promise.all([['laboratory'], ['user(Jekyll)'], ['user(Hyde)']].map(said))).map(({ recipients }) => recipients), [1, 0, 1])
    const messages = await Promise.all([[], [changing.id]].map(said))
    await fence(greyhound, [changing, staying])
    const { connection_seq } = await greyhound.row('messaging.auth', { user_id: 'Hyde', outcome: 'accepted' })
    for (const { seq } of messages) {
      const { user_id } = await greyhound.row('messaging.delivery', { message_seq: seq, connection_seq })
      assert.equal(user_id, 'Hyde')
    }
    const sockets = await (await fetch(`${greyhound.admin}/v1/messaging/sockets?room=user(Hyde)`)).json()
    assert.deepEqual(sockets.sockets.map(({ rooms }) => rooms), [[changing.id, 'user(Hyde)']])
  })

  test('the same user from elsewhere keeps the rooms that it was put into', async t => {
    const socket = await login(t, greyhound, 'moving', { claims: { site: 'old.example' } })
    await greyhound.post('/v1/messaging/join', { rooms: ['user(moving)'], targets: ['movers'] })
    const accepted = next(socket, 'authenticated')
    socket.emit('authenticate', { token: greyhound.token('moving', { site: 'new.example' }) })
    await accepted
    const counts = await Promise.all(['movers', 'site(old.example)', 'site(new.example)'].map(room => greyhound.emit({ rooms: [room], event: 'message' })))
    assert.deepEqual(counts.map(({ recipients }) => recipients), [1, 0, 1])
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

test('a site may be a claim only', async t => {
  const greyhound = await start(t, { env: { PLUGINS__MESSAGING__AUTH__SITE_FROM_ORIGIN: 'false' } })
  const visitor = (user, claims) => login(t, greyhound, user, { claims, extraHeaders: { Origin: 'https://bank.example' } })
  await visitor('pretender')
  await visitor('customer', { site: 'bank.example' })
  assert.equal((await greyhound.emit({ rooms: ['site(bank.example)'], event: 'message' })).recipients, 1)
  assert.equal((await greyhound.row('messaging.auth', { user_id: 'pretender' })).site ?? null, null)
  await greyhound.stop()
})
