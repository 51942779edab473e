// Tokens that are revoked: their clients are disconnected, and they are refused.
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { prepare, start, until } from './greyhound.mjs'
import { revoke, verdict } from './revocation.mjs'
import { connect, fence, login, next } from './sockets.mjs'

const now = () => Math.floor(Date.now() / 1000)

const list = async greyhound => (await (await fetch(`${greyhound.admin}/v1/messaging/revocations`)).json()).revocations

describe('a revocation', () => {
  let greyhound
  const cleanups = []
  before(async () => {
    greyhound = await start({ after: f => cleanups.push(f) })
  })
  after(async () => {
    await greyhound.stop()
    for (const cleanup of cleanups) await cleanup()
  })

  for (const { what, claims, others, body } of [
    { what: 'a user', claims: {}, others: { id: 'another' }, body: user => ({ user }) },
    { what: 'a token', claims: { jti: 'j1' }, others: { jti: 'j2', sid: 'j1' }, body: () => ({ jti: 'j1' }) },
    { what: 'a session', claims: { sid: 's1', jti: 'j3' }, others: { sid: 's2', jti: 's1' }, body: () => ({ sid: 's1' }) },
    { what: 'old tokens of a user', claims: { iat: now() - 100 }, others: { iat: now() - 10 }, body: user => ({ user, issued_before: now() - 50 }) },
  ]) {
    test(`of ${what} disconnects those who have it, and refuses them from then on`, async t => {
      const user = `had ${what}`
      const [mine, theirs] = [claims, others].map(claims => greyhound.token(user, claims))
      const [one, two, other] = await Promise.all([claims, claims, others].map(claims => login(t, greyhound, user, { claims })))
      const told = [one, two].map(socket => next(socket, 'unauthorized'))
      const gone = [one, two].map(socket => next(socket, 'disconnect'))
      assert.deepEqual(await revoke(greyhound, body(user)), { local_sockets: 2, cluster: { reached: true } })
      for (const [why] of await Promise.all(told)) {
        assert.deepEqual(why, { message: 'jwt revoked', inner: { message: 'jwt revoked' }, data: { message: 'jwt revoked', code: 'invalid_token', type: 'UnauthorizedError' } })
      }
      assert.deepEqual((await Promise.all(gone)).map(([reason]) => reason), ['io server disconnect', 'io server disconnect'])
      const of = outcome => row => row.user_id === user && row.outcome === outcome
      await until('a row of each', async () => (await greyhound.rows('messaging.auth')).filter(of('revoked')).length === 2)
      await greyhound.row('messaging.connection', row => row.user_id === user && row.reason === 'token revoked')

      assert.equal(await verdict(t, greyhound, mine), 'jwt revoked')
      const again = connect(t, greyhound.url)
      const refused = next(again, 'unauthorized')
      again.emit('authenticate', { token: mine })
      assert.equal((await refused)[0].message, 'jwt revoked')
      await greyhound.row('messaging.auth', row => of('revoked')(row) && row.method === 'event' && row.reason === 'jwt revoked')

      await fence(greyhound, [other])
      assert.equal(await verdict(t, greyhound, theirs), 'authenticated')
    })
  }

  test('of a user does not concern tokens that are issued afterwards', async t => {
    const token = greyhound.token('renewed')
    await revoke(greyhound, { user: 'renewed' })
    assert.equal(await verdict(t, greyhound, token), 'jwt revoked')
    // Of the second in which it was made, nobody knows what was first.
    assert.equal(await verdict(t, greyhound, greyhound.token('renewed', { iat: now() + 2 })), 'authenticated')
    assert.equal(await verdict(t, greyhound, greyhound.token('renewed', { iat: undefined })), 'jwt revoked')
  })

  test('is a row, and in the list, until it is withdrawn', async t => {
    const before = Date.now()
    await revoke(greyhound, { user: 'listed', issued_before: 1_700_000_000 })
    const row = await greyhound.row('messaging.revocation', { user_id: 'listed', event: 'revoked' })
    assert.deepEqual([row.jti ?? null, row.sid ?? null, row.source, Date.parse(row.issued_before)], [null, null, 'http', 1_700_000_000_000])
    assert.ok(Date.parse(row.revoked_at) >= before)
    const listed = async () => (await list(greyhound)).filter(({ user }) => user === 'listed')
    const [{ revoked_at, ...item }] = await listed()
    assert.deepEqual(item, { user: 'listed', issued_before: 1_700_000_000 })
    assert.ok(revoked_at >= before)

    const withdraw = () => fetch(`${greyhound.admin}/v1/messaging/revocations?user=listed`, { method: 'DELETE' })
    const answer = await withdraw()
    assert.deepEqual([answer.status, await answer.json()], [200, { cluster: { reached: true } }])
    assert.deepEqual(await listed(), [])
    await greyhound.row('messaging.revocation', { user_id: 'listed', event: 'withdrawn' })
    assert.equal(await verdict(t, greyhound, greyhound.token('listed', { iat: 1_600_000_000 })), 'authenticated')
    assert.equal((await withdraw()).status, 404)
  })

  test('can be made on the command line', async t => {
    const socket = await login(t, greyhound, 'seven', { claims: { jti: 'of the command' } })
    const gone = next(socket, 'disconnect')
    const made = await greyhound.cli('revoke', '--jti', 'of the command')
    assert.deepEqual(made, { code: 0, stdout: 'revoked; 1 socket of this node is disconnected\n', stderr: '' })
    await gone
    assert.deepEqual(await greyhound.cli('revoke', '--withdraw', '--jti', 'of the command'), { code: 0, stdout: 'withdrawn\n', stderr: '' })
    assert.equal(await verdict(t, greyhound, greyhound.token('seven', { jti: 'of the command' })), 'authenticated')
    assert.equal((await greyhound.cli('revoke', '--user', 'old ones', '--issued-before', '2020-01-01T00:00:00Z')).code, 0)
    assert.equal((await list(greyhound)).find(({ user }) => user === 'old ones').issued_before, 1_577_836_800)
    assert.match((await greyhound.cli('revoke')).stderr, /`issued_before` is missing/)
    assert.match((await greyhound.cli('revoke', '--user', 'a', '--jti', 'b')).stderr, /cannot be used with/)
    assert.match((await greyhound.cli('revoke', '--withdraw', '--sid', 'nobody')).stderr, /there is no such revocation/)
  })
})

test('a revocation of all old tokens spares the others', async t => {
  const greyhound = await start(t)
  const [old, young] = await Promise.all([now() - 100, now()].map(iat => login(t, greyhound, 'anybody', { claims: { iat } })))
  const gone = next(old, 'disconnect')
  assert.equal((await revoke(greyhound, { issued_before: now() - 50 })).local_sockets, 1)
  await gone
  await fence(greyhound, [young])
  await greyhound.stop()
})

test('revocations survive a kill, and a damaged file is not ignored', async t => {
  const greyhound = await prepare(t)
  await greyhound.start()
  const token = greyhound.token('gone')
  await revoke(greyhound, { user: 'gone' })
  await greyhound.restart()
  assert.equal(await verdict(t, greyhound, token), 'jwt revoked')
  await greyhound.stop()
  const file = join(greyhound.dataDir, 'plugins/messaging/revocations.json')
  await writeFile(file, (await readFile(file, 'utf8')).slice(0, -2))
  assert.match((await greyhound.cli('validate')).stderr, /revocations\.json is damaged: .*; restore the file, or remove it/)
  greyhound.spawn()
  assert.notEqual((await greyhound.exited).code, 0)
  assert.match(greyhound.output, /revocations\.json is damaged/)
})
