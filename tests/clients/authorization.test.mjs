// The authorization endpoint: a real HTTP server that is asked at connect and at pushes, and that answers, refuses, or fails.
import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { freePort, prepare, start, until } from './greyhound.mjs'
import { revoke } from './revocation.mjs'
import { connect, first, login, next, push } from './sockets.mjs'

const refused = error => [{ ok: false, error }]

/** A server that answers each question with `answer(question)`: a body, or a function that gets the response. */
async function endpoint(t, answer, port = 0) {
  const asked = []
  const server = createServer(async (request, response) => {
    let body = ''
    for await (const part of request) body += part
    const question = JSON.parse(body)
    asked.push({ ...question, headers: request.headers, method: request.method, path: request.url })
    const given = await answer(question)
    if (typeof given === 'function') return given(response)
    response.setHeader('content-type', 'application/json')
    response.end(JSON.stringify(given))
  })
  await new Promise(done => server.listen(port, '127.0.0.1', done))
  const close = () => new Promise(done => server.closeAllConnections() ?? server.close(done))
  t.after(close)
  return { asked, close, url: `http://127.0.0.1:${server.address().port}/authorize?x=y` }
}

const settings = (url, more = {}) => ({ env: {
  PLUGINS__MESSAGING__AUTHORIZATION__URL: url,
  ...Object.fromEntries(Object.entries(more).map(([key, value]) => [`PLUGINS__MESSAGING__AUTHORIZATION__${key.toUpperCase()}`, value])),
} })

/** Authenticates with the event: `authenticated`, or the reason. */
async function enter(t, greyhound, user, claims, options = {}) {
  const socket = connect(t, greyhound.url, options)
  socket.emit('authenticate', { token: greyhound.token(user, claims) })
  const [event, why] = await first(socket, ['authenticated', 'unauthorized'])
  return { socket, answer: why?.message ?? event }
}

test('the endpoint says who may connect, and to which rooms', async t => {
  const { asked, url } = await endpoint(t, ({ user }) =>
    user === 'banned' ? { allow: false, reason: 'banned until Monday' } : user === 'nobody' ? { allow: false } : { allow: true, rooms: ['granted'] })
  const token = join('/tmp', `greyhound-authorization-${process.pid}`)
  await writeFile(token, 'the token of the endpoint\n')
  const greyhound = await start(t, settings(url, { token_file: token, claims: '["role"]' }))

  const { answer } = await enter(t, greyhound, 'welcome', { role: 'admin', secret: 'not sent' }, { extraHeaders: { Origin: 'https://www.example.com' } })
  assert.equal(answer, 'authenticated')
  const { headers, ...question } = asked[0]
  assert.deepEqual(question, {
    question: 'connect', user: 'welcome', site: 'example.com', namespace: '/', address: '127.0.0.1', claims: { role: 'admin' }, method: 'POST', path: '/authorize?x=y',
  })
  assert.deepEqual([headers.authorization, headers['content-type']], ['Bearer the token of the endpoint', 'application/json'])
  assert.equal((await greyhound.emit({ rooms: ['granted'], event: 'message' })).recipients, 1)
  await greyhound.row('messaging.membership', { user_id: 'welcome', room: 'granted', event: 'joined', cause: 'authentication' })

  assert.equal((await enter(t, greyhound, 'banned')).answer, 'banned until Monday')
  await greyhound.row('messaging.auth', { user_id: 'banned', outcome: 'refused', method: 'event', reason: 'banned until Monday' })
  for (const [user, reason] of [['banned', 'banned until Monday'], ['nobody', 'not allowed']]) {
    const socket = connect(t, greyhound.url, { auth: { token: greyhound.token(user) } })
    const [error] = await next(socket, 'connect_error')
    assert.deepEqual([error.message, error.data], [reason, { message: reason, code: 'not_authorized', type: 'UnauthorizedError' }])
    await greyhound.row('messaging.auth', { user_id: user, outcome: 'refused', method: 'handshake', reason })
    const old = connect(t, greyhound.url, { generation: '2.5', query: { token: greyhound.token(user) } })
    assert.equal((await next(old, 'error'))[0].message, reason)
  }
  const granted = connect(t, greyhound.url, { auth: { token: greyhound.token('by handshake') } })
  await next(granted, 'authenticated')
  assert.equal((await greyhound.emit({ rooms: ['granted'], event: 'message' })).recipients, 2)
  // Of a token that is not valid, nothing is asked.
  const before = asked.length
  const forged = connect(t, greyhound.url, { auth: { token: 'hello' } })
  await next(forged, 'connect_error')
  assert.equal(asked.length, before)
  assert.ok(!greyhound.output.includes('the token of the endpoint'))
  await greyhound.stop()
})

test('the endpoint says who may push what, in the order of each client', async t => {
  let free
  const held = new Promise(done => (free = done))
  const { asked, url } = await endpoint(t, async ({ user, args }) => {
    if (user === 'waits') await held
    return args[0] === 'bad' ? { allow: false, reason: 'no such order' } : { allow: true }
  })
  const greyhound = await start(t, settings(url, { connect: 'false', events: '["order", "join"]', timeout: '4s' }))
  const socket = await login(t, greyhound, 'buyer', { claims: { join: ['team(*)'], site: 'shop.example' } })
  assert.deepEqual(await push(socket, 'order', 'good', Buffer.from('hi')), [])
  assert.deepEqual(await push(socket, 'order', 'bad'), refused('no such order'))
  const { headers, ...question } = asked[0]
  assert.deepEqual(question, {
    question: 'push', user: 'buyer', site: 'shop.example', namespace: '/', address: '127.0.0.1', event: 'order', args: ['good', 'aGk='], method: 'POST', path: '/authorize?x=y',
  })
  await push(socket, 'other', 'bad')
  assert.equal(asked.length, 2)
  const rows = (await greyhound.rows('messaging.push')).map(({ event, outcome, reason }) => [event, outcome, reason ?? null])
  assert.deepEqual(rows, [['order', 'accepted', null], ['order', 'refused', 'no such order'], ['other', 'accepted', null]])
  // `join` is an event as any other.
  assert.deepEqual(await push(socket, 'join', 'team(1)'), [{ ok: true }])
  assert.deepEqual(await push(socket, 'join', 'bad'), refused('no such order'))

  const slow = await login(t, greyhound, 'waits')
  const acks = []
  slow.emit('before', () => acks.push('before'))
  slow.emit('order', 'good', () => acks.push('order'))
  for (let n = 0; n < 20; n++) slow.emit('after', n, () => acks.push(n))
  const accepted = next(slow, 'authenticated')
  slow.emit('authenticate', { token: greyhound.token('becomes another') })
  slow.emit('last', () => acks.push('last'))
  await until('the question', () => asked.some(({ user }) => user === 'waits'))
  await greyhound.row('messaging.push', { user_id: 'waits', event: 'before' })
  // Others do not wait.
  await push(socket, 'order', 'good')
  assert.deepEqual(acks.filter(ack => ack !== 'before'), [])
  free()
  await accepted
  await until('all acks', () => acks.length === 23)
  assert.deepEqual(acks, ['before', 'order', ...Array(20).keys(), 'last'])
  const pushes = (await greyhound.rows('messaging.push')).filter(({ connection_seq }) => connection_seq === 1).map(({ event, user_id }) => [event, user_id])
  assert.deepEqual(pushes, [['before', 'waits'], ['order', 'waits'], ...Array(20).fill(['after', 'waits']), ['last', 'becomes another']])
  await greyhound.stop()
})

test('what waits when the token is revoked is refused without a question', async t => {
  let free
  const held = new Promise(done => (free = done))
  const { asked, url } = await endpoint(t, async () => (await held, { allow: true }))
  const greyhound = await start(t, settings(url, { connect: 'false', events: '["order"]', timeout: '4s' }))
  const socket = await login(t, greyhound, 'revoked')
  for (const event of ['order', 'order', 'other']) socket.emit(event)
  await until('the question', () => asked.length === 1)
  const gone = next(socket, 'disconnect')
  await revoke(greyhound, { user: 'revoked' })
  await gone
  free()
  await until('all rows', async () => (await greyhound.rows('messaging.push')).length === 3)
  const rows = (await greyhound.rows('messaging.push')).map(({ event, outcome, reason }) => [event, outcome, reason ?? null])
  // The endpoint was asked about the first one before.
  assert.deepEqual(rows, [['order', 'accepted', null], ['order', 'refused', 'jwt revoked'], ['other', 'refused', 'jwt revoked']])
  assert.equal(asked.length, 1)
  await greyhound.stop()
})

test('a client that has connected again is not removed from a room that it asked to leave before', async t => {
  let free
  const held = new Promise(done => (free = done))
  const { asked, url } = await endpoint(t, async () => (await held, { allow: true }))
  const { env } = settings(url, { connect: 'false', events: '["leave"]', timeout: '4s' })
  const greyhound = await start(t, { env: { ...env, PLUGINS__MESSAGING__NAMESPACES: '["/", "/other"]' } })
  const socket = await login(t, greyhound, 'member', { claims: { rooms: ['team(1)'], join: ['team(*)'] } })
  // Keeps the connection open, so that the socket has the same id again.
  const other = socket.io.socket('/other')
  t.after(() => other.disconnect())
  await next(other, 'connect')
  const { id } = socket
  socket.emit('leave', 'team(1)')
  socket.emit('last')
  await until('the question', () => asked.length === 1)
  socket.disconnect()
  await greyhound.row('messaging.connection', { event: 'closed', user_id: 'member' })
  socket.connect()
  await next(socket, 'connect')
  assert.equal(socket.id, id)
  const authenticated = next(socket, 'authenticated')
  socket.emit('authenticate', { token: greyhound.token('member', { rooms: ['team(1)'] }) })
  await authenticated
  free()
  await greyhound.row('messaging.push', { event: 'last' })
  assert.equal((await greyhound.emit({ rooms: ['team(1)'], event: 'message' })).recipients, 1)
  await greyhound.stop()
})

test('a client that floods while it waits is disconnected', async t => {
  const { url } = await endpoint(t, () => new Promise(() => {}))
  const greyhound = await start(t, settings(url, { connect: 'false', events: '["order"]', timeout: '4s' }))
  const socket = await login(t, greyhound, 'flood')
  const gone = next(socket, 'disconnect')
  socket.emit('order')
  for (let n = 0; n < 2000; n++) socket.emit('more', n)
  await gone
  await greyhound.row('messaging.connection', { event: 'closed', user_id: 'flood', reason: 'overload' })
  await greyhound.stop()
})

const failures = {
  'the status 500': response => { response.statusCode = 500; response.end('{"allow": true}') },
  'no JSON': response => response.end('yes'),
  'another JSON': response => response.end('{"allowed": true}'),
  'a room of a user': response => response.end('{"allow": true, "rooms": ["user(7)"]}'),
  'a long text': response => response.end(JSON.stringify({ allow: true, reason: 'x'.repeat(100_000) })),
  'a redirect': response => { response.statusCode = 307; response.setHeader('location', '/'); response.end() },
  'half an answer': response => { response.writeHead(200, { 'content-length': 100 }); response.write('{"allow"'); response.socket.end() },
  nothing: () => {},
}

for (const policy of ['closed', 'open']) {
  test(`if the endpoint fails, it is as if it were ${policy === 'open' ? 'asked nothing' : 'refused'}, and is asked again`, async t => {
    let fails
    const { url, close } = await endpoint(t, () => fails ?? { allow: true })
    const { port } = new URL(url)
    const greyhound = await start(t, settings(url, { on_failure: policy, events: '["order"]', timeout: '300ms' }))
    const expected = policy === 'open' ? 'authenticated' : 'authorization unavailable'
    const { socket } = await enter(t, greyhound, 'inside')
    const entered = async (name, what = expected) => assert.equal((await enter(t, greyhound, name)).answer, what, name)
    for (const [name, failure] of Object.entries(failures)) {
      fails = failure
      await entered(name)
      assert.deepEqual(await push(socket, 'order'), policy === 'open' ? [] : refused('authorization unavailable'), name)
    }
    await close()
    await entered('down')
    fails = undefined
    await endpoint(t, () => ({ allow: true }), Number(port))
    await entered('up again', 'authenticated')
    const metrics = await fetch(`${greyhound.admin}/metrics`).then(answer => answer.text())
    const counted = (question, outcome) => Number(metrics.match(new RegExp(`^greyhound_messaging_authorizations_total\\{question="${question}",outcome="${outcome}"\\} (\\d+)`, 'm'))?.[1])
    assert.deepEqual([counted('connect', 'failed'), counted('push', 'failed'), counted('connect', 'allowed')], [9, 8, 2])
    assert.match(metrics, /greyhound_messaging_authorization_seconds_count 19/)
    await until('one warning, and one that it is over', () => greyhound.output.match(/does not answer/g)?.length === 1 && greyhound.output.includes('answers again'))
    await greyhound.stop()
  })
}

test('an answer is used again for the same question only', async t => {
  const { asked, url } = await endpoint(t, ({ user }) => ({ allow: user !== 'banned' }))
  const greyhound = await start(t, settings(url, { cache: '1h', events: '["order"]' }))
  const { socket } = await enter(t, greyhound, 'one')
  for (let n = 0; n < 3; n++) assert.equal((await enter(t, greyhound, 'one')).answer, 'authenticated')
  for (let n = 0; n < 3; n++) assert.equal((await enter(t, greyhound, 'banned')).answer, 'not allowed')
  assert.equal(asked.length, 2)
  for (let n = 0; n < 3; n++) await push(socket, 'order', 'same')
  await push(socket, 'order', 'other')
  assert.equal(asked.length, 4)
  await greyhound.stop()
})

test('no more questions are asked at a time than configured', async t => {
  let now = 0, most = 0
  const { url } = await endpoint(t, async () => {
    most = Math.max(most, ++now)
    await new Promise(done => setImmediate(done))
    now--
    return { allow: true }
  })
  const greyhound = await start(t, settings(url, { concurrency: '2', timeout: '4s' }))
  await Promise.all(Array.from({ length: 30 }, (_, n) => login(t, greyhound, `${n}`)))
  assert.equal(most, 2)
  await greyhound.stop()
})

test('`validate` says what is wrong with the endpoint', async t => {
  const { url } = await endpoint(t, () => ({ allow: false }))
  const greyhound = await prepare(t, settings(url))
  const works = await greyhound.cli('validate', '--connect')
  assert.match(works.stdout + works.stderr, /authorization.*it answers/)
  greyhound.settings.PLUGINS__MESSAGING__AUTHORIZATION__TOKEN_FILE = '/nowhere'
  const missing = await greyhound.cli('validate')
  assert.match(missing.stdout + missing.stderr, /authorization\.token_file: .*cannot be read/)
  delete greyhound.settings.PLUGINS__MESSAGING__AUTHORIZATION__TOKEN_FILE
  greyhound.settings.PLUGINS__MESSAGING__AUTHORIZATION__URL = `http://127.0.0.1:${await freePort()}/`
  const down = await greyhound.cli('validate', '--connect')
  assert.notEqual(down.code, 0)
  assert.match(down.stdout + down.stderr, /plugins\.messaging\.authorization\.url: .*refused/)
  Object.assign(greyhound.settings, Object.fromEntries(Object.entries({
    URL: 'http://example.com/', EVENTS: '["connect"]', TIMEOUT: '1h', CONCURRENCY: '0', CONNECT: 'false',
  }).map(([key, value]) => [`PLUGINS__MESSAGING__AUTHORIZATION__${key}`, value])))
  const wrong = await greyhound.cli('validate')
  for (const key of ['url', 'events', 'timeout', 'concurrency']) assert.ok((wrong.stdout + wrong.stderr).includes(`authorization.${key}`), key)
})
