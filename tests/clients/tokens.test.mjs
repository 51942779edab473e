// Keys of tokens: where they come from, and how they are rotated while clients connect.
import assert from 'node:assert/strict'
import { createPublicKey, generateKeyPairSync, sign as signature } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { createServer } from 'node:http'
import { join } from 'node:path'
import { describe, test } from 'node:test'
import { mint, prepare, start, until } from './greyhound.mjs'
import { connect, first, next } from './sockets.mjs'

const rsa = () => generateKeyPairSync('rsa', { modulusLength: 2048 })

/** A token signed with RS256. */
function rs256(privateKey, claims, header = {}) {
  const part = value => Buffer.from(JSON.stringify(value)).toString('base64url')
  const text = `${part({ alg: 'RS256', typ: 'JWT', ...header })}.${part(claims)}`
  return `${text}.${signature('sha256', Buffer.from(text), privateKey).toString('base64url')}`
}

/** What a client with this token is told: `authenticated`, or why not. */
async function told(t, greyhound, token) {
  const socket = connect(t, greyhound.url, { auth: { token } })
  const [event, error] = await first(socket, ['authenticated', 'connect_error'])
  socket.disconnect()
  return error?.message ?? event
}

/** Waits until clients with this token are told `expected`. */
const untilTold = (t, greyhound, token, expected) =>
  until(`a token to be ${expected}`, async () => await told(t, greyhound, token) === expected)

const readiness = greyhound => fetch(`${greyhound.admin}/readyz`).then(async answer => ({ status: answer.status, ...await answer.json() }))

/** An issuer: it serves the public halves of `keys` as a JWKS unless it is `down`, and counts requests. */
async function issuer(t, keys) {
  const it = { keys, down: false, requests: 0 }
  const server = createServer((request, response) => {
    it.requests++
    if (it.down) return response.writeHead(503).end()
    const jwks = Object.entries(it.keys).map(([kid, { publicKey }]) => ({ ...publicKey.export({ format: 'jwk' }), kid, use: 'sig' }))
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ keys: jwks }))
  })
  await new Promise(done => server.listen(0, '127.0.0.1', done))
  t.after(() => server.close())
  it.url = `http://127.0.0.1:${server.address().port}/jwks.json`
  return it
}

const AUTH = 'PLUGINS__MESSAGING__AUTH__'
const remote = (url, env = {}) => ({ [`${AUTH}SECRET`]: undefined, [`${AUTH}JWKS_URL`]: url, ...env })

test('RS256 with a JWKS URL: a new key is fetched at once, a withdrawn one is refused, and an issuer that is down changes nothing', async t => {
  const [a, b] = [rsa(), rsa()]
  const login = await issuer(t, { a })
  const greyhound = await start(t, { env: remote(login.url, { [`${AUTH}JWKS_REFRESH`]: '1s' }) })
  const by = (kid, { privateKey }) => rs256(privateKey, { id: 'ann' }, { kid })
  assert.equal(await told(t, greyhound, by('a', a)), 'authenticated')
  await greyhound.row('messaging.auth', { user_id: 'ann', outcome: 'accepted' })

  login.keys = { a, b }
  await untilTold(t, greyhound, by('b', b), 'authenticated')
  assert.equal(await told(t, greyhound, by('b', a)), 'invalid signature')
  assert.equal(await told(t, greyhound, by('a', a)), 'authenticated')
  login.keys = { b }
  await untilTold(t, greyhound, by('a', a), 'jwt signing key not found')

  login.down = true
  const { status, parts } = await until('the outage on /readyz', async () => {
    const it = await readiness(greyhound)
    return it.parts['messaging.keys.default'] !== 'ready' && it
  })
  assert.equal(status, 200)
  assert.match(parts['messaging.keys.default'], /^ready, but the last good keys are in use: http:.*503/)
  const stale = async () => /^greyhound_messaging_keys_stale\{issuer="default"\} (\d)$/m.exec(await fetch(`${greyhound.admin}/metrics`).then(it => it.text()))[1]
  assert.equal(await stale(), '1')
  assert.equal(await told(t, greyhound, by('b', b)), 'authenticated')

  login.down = false
  await until('the recovery on /readyz', async () => (await readiness(greyhound)).parts['messaging.keys.default'] === 'ready')
  assert.equal(await stale(), '0')
  await greyhound.stop()
})

test('an unknown `kid` is fetched once, however often it is tried', async t => {
  const [a, b, c] = [rsa(), rsa(), rsa()]
  const login = await issuer(t, { a })
  const greyhound = await start(t, { env: remote(login.url) })
  await until('the first keys', () => login.requests === 1)
  login.keys = { a, b }
  // Both ways to authenticate wait for the answer.
  const event = connect(t, greyhound.url)
  const accepted = next(event, 'authenticated')
  event.emit('authenticate', { token: rs256(b.privateKey, { id: 1 }, { kid: 'b' }) })
  await accepted
  assert.equal(await told(t, greyhound, rs256(b.privateKey, { id: 1 }, { kid: 'b' })), 'authenticated')
  assert.equal(login.requests, 2)
  for (const kid of ['c', 'd', 'e']) {
    assert.equal(await told(t, greyhound, rs256(c.privateKey, { id: 1 }, { kid })), 'jwt signing key not found')
  }
  assert.equal(login.requests, 2)
  await greyhound.stop()
})

test('a node that never got the keys is not ready, until it does', async t => {
  const a = rsa()
  const login = await issuer(t, { a })
  login.down = true
  const greyhound = await prepare(t, { env: remote(login.url, { [`${AUTH}JWKS_REFRESH`]: '1s' }) })
  greyhound.spawn()
  const part = await until('the part on /readyz', () => readiness(greyhound).then(
    ({ status, parts }) => status === 503 && /503/.test(parts['messaging.keys.default']) && parts['messaging.keys.default'], () => false))
  assert.match(part, /^no token can be verified: /)
  login.down = false
  await until('readiness', async () => (await readiness(greyhound)).status === 200)
  assert.equal(await told(t, greyhound, rs256(a.privateKey, { id: 1 }, { kid: 'a' })), 'authenticated')
  await greyhound.stop()
})

test('a secret is rotated without a restart: both verify, then only the new one', async t => {
  const greyhound = await prepare(t, { env: { [`${AUTH}SECRET`]: undefined } })
  const [current, previous] = ['current', 'previous'].map(name => join(greyhound.home, name))
  await writeFile(current, 'the old secret, of more than 32 bytes')
  await writeFile(previous, 'the old secret, of more than 32 bytes')
  greyhound.settings[`${AUTH}SECRET_FILE`] = JSON.stringify([current, previous])
  await greyhound.start()
  const by = key => mint({ id: 1 }, { key })
  const [old, young] = [by('the old secret, of more than 32 bytes'), by('the new secret, of more than 32 bytes')]
  assert.equal(await told(t, greyhound, old), 'authenticated')
  assert.equal(await told(t, greyhound, young), 'invalid signature')
  await writeFile(current, 'the new secret, of more than 32 bytes')
  await untilTold(t, greyhound, young, 'authenticated')
  assert.equal(await told(t, greyhound, old), 'authenticated')
  const made = await greyhound.cli('token', '--user', '1')
  assert.equal(await told(t, greyhound, made.stdout.trim()), 'authenticated')

  // A broken file keeps the last good secrets.
  await writeFile(previous, '\n')
  await until('the damage on /readyz', async () => /previous is empty/.test((await readiness(greyhound)).parts['messaging.keys.default']))
  assert.equal(await told(t, greyhound, old), 'authenticated')
  await writeFile(previous, 'the new secret, of more than 32 bytes')
  await untilTold(t, greyhound, old, 'invalid signature')
  assert.ok(!greyhound.output.includes('of more than 32 bytes'))
  await greyhound.stop()
})

describe('with the public key of an issuer', () => {
  const pair = rsa()
  const pem = pair.publicKey.export({ type: 'spki', format: 'pem' })
  const env = { [`${AUTH}SECRET`]: undefined, [`${AUTH}PUBLIC_KEY_FILE`]: 'issuer.pem', [`${AUTH}AUDIENCE`]: 'greyhound', [`${AUTH}ISSUER`]: 'i' }
  const good = { id: 1, iss: 'i', aud: 'greyhound' }
  const prepared = async (t, more = {}) => {
    const greyhound = await prepare(t, { env: { ...env, ...more } })
    await writeFile(join(greyhound.home, 'issuer.pem'), pem)
    return greyhound
  }

  test('no token is accepted that the issuer has not signed', async t => {
    const greyhound = await (await prepared(t)).start()
    const refused = {
      'invalid algorithm': [mint(good, { key: pem }), mint(good, { key: pem.trim() }), mint(good, { key: createPublicKey(pem).export({ type: 'spki', format: 'der' }) })],
      'invalid signature': [rs256(rsa().privateKey, good, { jku: 'http://127.0.0.1:1/', jwk: pair.publicKey.export({ format: 'jwk' }) })],
      'jwt audience invalid. expected: greyhound': [rs256(pair.privateKey, { ...good, aud: 'other' })],
      'jwt issuer invalid. expected: i': [rs256(pair.privateKey, { ...good, iss: 'other' })],
      'jwt too large': [rs256(pair.privateKey, { ...good, x: 'x'.repeat(20_000) })],
    }
    for (const [message, tokens] of Object.entries(refused)) {
      for (const token of tokens) assert.equal(await told(t, greyhound, token), message)
    }
    assert.equal(await told(t, greyhound, rs256(pair.privateKey, good)), 'authenticated')
    await greyhound.row('messaging.auth', { outcome: 'refused', reason: 'jwt audience invalid. expected: greyhound' })
    await greyhound.stop()
  })

  test('`greyhound token` says that it cannot sign', async t => {
    const { code, stderr } = await (await prepared(t)).cli('token', '--user', '1')
    assert.equal(code, 1)
    assert.match(stderr, /has only public keys, which verify tokens and cannot sign any/)
  })

  test('`greyhound validate` reports what cannot work, and fetches what is at a URL', async t => {
    const validate = async (env, ...options) => {
      const { code, stdout, stderr } = await (await prepared(t, env)).cli('validate', ...options)
      return { code, text: stdout + stderr }
    }
    const mixed = await validate({ [`${AUTH}ALGORITHMS`]: 'RS256,HS256', [`${AUTH}JWKS_URL`]: 'http://issuer.example/' })
    assert.equal(mixed.code, 2)
    for (const problem of ['auth.algorithms: "HS256" does not fit', 'auth.jwks_url: auth.public_key_file is set as well', 'auth.jwks_url: is not encrypted']) {
      assert.ok(mixed.text.includes(problem), mixed.text)
    }
    const missing = await validate({ [`${AUTH}PUBLIC_KEY_FILE`]: '["issuer.pem", "./nowhere.pem"]' })
    assert.match(missing.text, /auth\.public_key_file: .*nowhere\.pem cannot be read/)
    const weak = await validate({ [`${AUTH}PUBLIC_KEY_FILE`]: undefined, [`${AUTH}SECRET`]: 'abc' })
    assert.deepEqual([weak.code, /warning: plugins\.messaging\.auth\.secret: has 3 bytes/.test(weak.text)], [0, true], weak.text)
    assert.ok(!weak.text.includes('abc'))

    const login = await issuer(t, { a: rsa() })
    const at = url => validate({ [`${AUTH}PUBLIC_KEY_FILE`]: undefined, [`${AUTH}JWKS_URL`]: url }, '--connect')
    assert.match((await at(login.url)).text, /keys of tokens +ok +1 keys/)
    const nowhere = await at('http://127.0.0.1:1/jwks.json')
    assert.deepEqual([nowhere.code, /keys of tokens +FAILS .*jwks_url: .*refused/.test(nowhere.text)], [1, true], nowhere.text)
  })
})
