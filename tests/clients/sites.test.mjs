// The room of a page's site: a page of one site never gets into the room of another.
import assert from 'node:assert/strict'
import { after, before, describe, test } from 'node:test'
import { start } from './greyhound.mjs'
import { connect, login, next } from './sockets.mjs'

const visit = (t, greyhound, user, Origin, claims) => login(t, greyhound, user, { claims, extraHeaders: Origin === undefined ? {} : { Origin } })

/** The site whose room the user has joined. */
const siteOf = async (greyhound, user) => (await greyhound.row('messaging.auth', { user_id: user, outcome: 'accepted' })).site ?? null

const recipients = async (greyhound, site) => (await greyhound.emit({ rooms: [`site(${site})`], event: 'message' })).recipients

describe('sites', () => {
  let greyhound
  const cleanups = []
  before(async () => {
    greyhound = await start({ after: f => cleanups.push(f) })
  })
  after(async () => {
    await greyhound.stop()
    for (const cleanup of cleanups) await cleanup()
  })

  // What browsers send, and what other programs may.
  const origins = {
    'https://shop.example.co.uk:8443': 'example.co.uk', 'https://Shop.Example.COM.': 'example.com', 'https://ann.github.io': 'ann.github.io',
    'https://deep.bob.github.io': 'bob.github.io', 'https://www.xn--bcher-kva.example': 'xn--bcher-kva.example', 'http://localhost:3000': 'localhost',
    'http://192.0.2.1:8080': '192.0.2.1', 'http://[2001:db8::1]:8080': '2001:db8::1', 'null': null, 'file://': null, 'capacitor://localhost': 'localhost',
    'https://example.com/': null, 'https://example.com@evil.example': null, 'example.com': null, 'https://a..example.com': null, 'https://example.com:x': null,
  }
  for (const [origin, site] of Object.entries(origins)) {
    test(`a page of ${origin} is in the room of ${site}`, async t => {
      const user = `visits ${origin}`
      await visit(t, greyhound, user, origin)
      assert.equal(await siteOf(greyhound, user), site)
      if (site) assert.ok(await recipients(greyhound, site) > 0)
    })
  }

  test('pages below a public suffix are not in the rooms of their siblings', async t => {
    for (const name of ['eve', 'mallory']) await visit(t, greyhound, name, `https://${name}.sibling.github.io`)
    await visit(t, greyhound, 'victim', 'https://victim.github.io')
    assert.deepEqual([await recipients(greyhound, 'victim.github.io'), await recipients(greyhound, 'sibling.github.io'), await recipients(greyhound, 'github.io')], [1, 2, 0])
  })

  for (const [claim, site] of Object.entries({ 'CLAIMED.example.': 'claimed.example', 'bücher.claimed': 'xn--bcher-kva.claimed', 'shop.claimed.example': 'shop.claimed.example' })) {
    test(`the claim ${claim} is the site ${site}, whatever the origin`, async t => {
      await visit(t, greyhound, `claims ${claim}`, 'https://other-origin.example', { site: claim })
      assert.equal(await siteOf(greyhound, `claims ${claim}`), site)
      assert.deepEqual([await recipients(greyhound, site), await recipients(greyhound, 'other-origin.example')], [1, 0])
    })
  }

  for (const site of ['https://claimed.example', 'claimed.example:8443', 'claimed example', '', ['claimed.example'], {}]) {
    test(`a token with the site ${JSON.stringify(site)} is refused instead of taking that of the origin`, async t => {
      const socket = connect(t, greyhound.url, { extraHeaders: { Origin: 'https://fallback.example' } })
      const unauthorized = next(socket, 'unauthorized')
      socket.emit('authenticate', { token: greyhound.token('odd', { site }) })
      assert.equal((await unauthorized)[0].message, 'jwt has an invalid site')
      assert.equal(await recipients(greyhound, 'fallback.example'), 0)
    })
  }

  test('who authenticates anew from another site leaves the room of the first', async t => {
    const socket = await visit(t, greyhound, 'mover', undefined, { site: 'first.example' })
    const accepted = next(socket, 'authenticated')
    socket.emit('authenticate', { token: greyhound.token('mover', { site: 'second.example' }) })
    await accepted
    assert.deepEqual([await recipients(greyhound, 'first.example'), await recipients(greyhound, 'second.example')], [0, 1])
  })
})

test('only the listed sites have rooms', async t => {
  const greyhound = await start(t, { env: { PLUGINS__MESSAGING__SITES: '["Example.com", "*.github.io", "bücher.example"]' } })
  const visits = {
    'https://www.example.com': 'example.com', 'https://ann.github.io': 'ann.github.io', 'https://github.io': null, 'https://example.com.evil.example': null,
    'https://www.xn--bcher-kva.example': 'xn--bcher-kva.example', 'https://other.example': null,
  }
  for (const [origin, site] of Object.entries(visits)) {
    await visit(t, greyhound, origin, origin)
    assert.equal(await siteOf(greyhound, origin), site, origin)
  }
  // A claim that is not in the list does not give way to the header.
  await visit(t, greyhound, 'claims another', 'https://www.example.com', { site: 'other.example' })
  assert.equal(await siteOf(greyhound, 'claims another'), null)
  await greyhound.stop()
})
