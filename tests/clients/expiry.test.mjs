// What becomes of a client whose token expires while it is connected.
import { createRequire } from 'node:module'
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { start, until } from './greyhound.mjs'
import { connect, fence, login, next, record } from './sockets.mjs'

const WebSocket = createRequire(import.meta.url)('ws')

const now = () => Math.floor(Date.now() / 1000)
const expired = { message: 'jwt expired', inner: { message: 'jwt expired' }, data: { message: 'jwt expired', code: 'invalid_token', type: 'UnauthorizedError' } }

describe('a token that expires', { concurrency: 8 }, () => {
  let greyhound
  const cleanups = []
  before(async () => {
    greyhound = await start({ after: f => cleanups.push(f) }, {
      env: { PLUGINS__MESSAGING__NAMESPACES: '["/", "/chat"]', PLUGINS__MESSAGING__AUTH__EXPIRY_WARNING: '30m', PLUGINS__MESSAGING__AUTH__MAX_TOKEN_AGE: '1day' },
    })
  })
  after(async () => {
    await greyhound.stop()
    for (const cleanup of cleanups) await cleanup()
  })

  for (const [generation, way] of [['1.7', 'polling'], ['2.5', 'websocket'], ['3.1', 'upgrade'], ['4.8', 'websocket']]) {
    test(`ends the connection of a ${generation} client by ${way}, which is told why`, async t => {
      const user = `expires-${generation}`
      const socket = await login(t, greyhound, user, { generation, way, claims: { exp: now() + 4 } })
      const told = next(socket, 'unauthorized')
      const gone = next(socket, 'disconnect')
      const [why, callback] = await told
      assert.deepEqual(why, expired)
      callback()
      assert.equal((await gone)[0], 'io server disconnect')
      const { connection_seq } = await greyhound.row('messaging.auth', { user_id: user, outcome: 'accepted' })
      const row = await greyhound.row('messaging.auth', { user_id: user, outcome: 'expired' })
      assert.deepEqual([row.connection_seq, row.method ?? null, row.reason], [connection_seq, null, 'jwt expired'])
      await greyhound.row('messaging.connection', { connection_seq, event: 'closed', reason: 'token expired' })
    })
  }

  test('does not end a client that authenticates anew, also as somebody else', async t => {
    const exp = now() + 4
    const [same, other, witness] = await Promise.all(['same', 'other', 'witness'].map(user => login(t, greyhound, user, { claims: { exp } })))
    for (const [socket, user] of [[same, 'same'], [other, 'another']]) {
      const accepted = next(socket, 'authenticated')
      socket.emit('authenticate', { token: greyhound.token(user) })
      await accepted
    }
    await next(witness, 'disconnect')
    const counts = await Promise.all(['same', 'other', 'another'].map(user => greyhound.emit({ rooms: [`user(${user})`], event: 'message', args: ['still here'] })))
    assert.deepEqual(counts.map(({ recipients }) => recipients), [1, 0, 1])
    await fence(greyhound, [same, other])
    assert.deepEqual([same.seen, other.seen], [[['message', 'still here']], [['message', 'still here']]])
  })

  test('is announced, once', async t => {
    const soon = now() + 60
    const [warned, unwarned] = await Promise.all([{ exp: soon }, {}].map(claims => login(t, greyhound, 'warned', { claims })))
    for (const socket of [warned, unwarned]) record(socket, 'token_expiring')
    await until('the warning', () => warned.seen.length > 0)
    const witness = connect(t, greyhound.url, { auth: { token: greyhound.token('witness', { exp: now() + 4 }) } })
    record(witness, 'token_expiring')
    await next(witness, 'unauthorized')
    await fence(greyhound, [warned, unwarned])
    assert.deepEqual(warned.seen, [['token_expiring', { exp: soon }]])
    assert.deepEqual([unwarned.seen, witness.seen.length], [[], 1])
  })

  test('ends only its own socket of a connection', async t => {
    const socket = await login(t, greyhound, 'root', { claims: { exp: now() + 4 } })
    const chat = socket.io.socket('/chat', { auth: { token: greyhound.token('chatter') } })
    t.after(() => chat.disconnect())
    await next(chat, 'authenticated')
    chat.seen = []
    record(chat, 'message')
    await next(socket, 'disconnect')
    // The connection would be closed a second after the socket: when another one, which ends later, is gone.
    await next(connect(t, greyhound.url, { auth: { token: greyhound.token('witness', { exp: now() + 4 }) } }), 'disconnect')
    await greyhound.emit({ namespace: '/chat', rooms: ['user(chatter)'], event: 'message', args: ['here'] })
    await fence(greyhound, [chat], '/chat')
    assert.deepEqual(chat.seen, [['message', 'here']])
  })

  test('ends a connection on which no other socket is authenticated, after all was sent', async t => {
    const socket = new WebSocket(`${greyhound.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`)
    t.after(() => socket.terminate())
    const packets = []
    socket.on('message', data => packets.push(String(data)))
    const closed = new Promise(done => socket.on('close', done))
    await new Promise(done => socket.on('open', done))
    for (const namespace of ['', '/chat,']) socket.send(`40${namespace}${JSON.stringify({ token: greyhound.token('raw', { exp: now() + 4 }) })}`)
    await closed
    for (const namespace of ['', '/chat,']) {
      const mine = packets.map(packet => packet.replace(/^(4\d)(\/chat,)?/, (_, type, nsp = '') => nsp === namespace ? type : 'other'))
      const told = mine.findIndex(packet => packet.startsWith('42') && packet.includes('["unauthorized",{"message":"jwt expired"'))
      assert.ok(told > 0 && mine.indexOf('41') > told, packets.join('\n'))
    }
  })

  test('ends all that end in the same second', async t => {
    const exp = now() + 5
    const sockets = await Promise.all(Array.from({ length: 200 }, () => login(t, greyhound, 'one of many', { claims: { exp } })))
    assert.deepEqual(new Set((await Promise.all(sockets.map(socket => next(socket, 'disconnect')))).flat().filter(reason => typeof reason === 'string')), new Set(['io server disconnect']))
    await until('all rows', async () => (await greyhound.rows('messaging.auth')).filter(row => row.user_id === 'one of many' && row.outcome === 'expired').length === 200)
  })

  test('may be one that is too old', async t => {
    const day = 24 * 3600
    const refusal = async claims => (await next(connect(t, greyhound.url, { auth: { token: greyhound.token('old', claims) } }), 'connect_error'))[0].message
    assert.equal(await refusal({ iat: now() - day - 1 }), 'maxAge exceeded')
    assert.equal(await refusal({ iat: undefined }), 'iat required when maxAge is specified')
    await greyhound.row('messaging.auth', { user_id: 'old', outcome: 'expired', reason: 'maxAge exceeded' })
    const socket = await login(t, greyhound, 'old', { claims: { iat: now() - day + 3, exp: now() + 3600 } })
    const [why] = await next(socket, 'unauthorized')
    assert.deepEqual(why, expired)
  })

  test('far in the future does no harm', async t => {
    for (const exp of [Number.MAX_SAFE_INTEGER, 1e18]) {
      const socket = await login(t, greyhound, 'immortal', { claims: { exp } })
      assert.ok(socket.connected)
    }
  })
})
