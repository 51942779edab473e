// The demo page in a real browser, as a person uses it.
import assert from 'node:assert/strict'
import { access, mkdtemp, mkdir, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { chromium } from 'playwright-core'
import { start, until } from '../clients/greyhound.mjs'

const screenshots = resolve(import.meta.dirname, '../../target/screenshots')

async function browserPath() {
  for (const path of ['/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']) {
    if (await access(path).then(() => true, () => false)) return path
  }
  assert.fail('no chromium: apt-get install chromium')
}

describe('the demo page', () => {
  let greyhound, browser, profile
  const cleanups = []
  before(async () => {
    greyhound = await start({ after: f => cleanups.push(f) }, {
      env: { PLUGINS__MESSAGING__DEMO: 'on', PLUGINS__MESSAGING__CLIENT_BUNDLE: resolve(import.meta.dirname, '../node_modules/socket.io-client-4/dist/socket.io.js') },
    })
    profile = await mkdtemp(join(tmpdir(), 'greyhound-browser-'))
    browser = await chromium.launchPersistentContext(profile, {
      executablePath: await browserPath(),
      viewport: { width: 1280, height: 1150 },
      args: ['--headless', '--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
        '--disable-component-update', '--disable-sync'],
    })
    await mkdir(screenshots, { recursive: true })
  })
  after(async () => {
    await browser?.close()
    await greyhound.stop()
    for (const cleanup of cleanups) await cleanup()
    await rm(profile, { recursive: true, force: true })
  })

  async function open(colorScheme = 'light') {
    const page = await browser.newPage()
    page.problems = []
    page.on('pageerror', error => page.problems.push(String(error)))
    page.on('console', message => message.type() === 'error' && page.problems.push(message.text()))
    page.on('request', request => request.url().startsWith(greyhound.url) || page.problems.push(`asks for ${request.url()}`))
    await page.emulateMedia({ colorScheme, reducedMotion: 'reduce' })
    await page.goto(greyhound.url)
    await page.locator('#feed[data-state=live]').waitFor()
    return page
  }

  async function addDevice(page, user) {
    const devices = await page.locator('.device').count()
    await page.locator('#connect [name=user]').fill(user)
    await page.locator('#connect button').click()
    await until('the device', async () => await page.locator('.device').count() === devices + 1)
    // By its name: the place changes with the next device.
    const device = page.locator('.device').filter({ hasText: new RegExp(`User ${user} · device \\d+`) })
      .filter({ hasText: await page.locator('.device strong').first().textContent() })
    await device.locator('.state[data-state=live]').waitFor()
    return device
  }

  const rowsOf = (page, topic) => page.locator(`#rows tr[data-topic="${topic}"]`)

  test('connect, push, publish, and see the rows of it', async () => {
    const page = await open()
    const other = await addDevice(page, '2')
    const phone = await addDevice(page, '1')
    const laptop = await addDevice(page, '1')
    await until('three accepted', async () => await rowsOf(page, 'messaging.auth').count() === 3)

    await phone.locator('[name=event]').fill('order')
    await phone.locator('[name=argument]').fill('{"coffees": 2}')
    await phone.locator('.push button').click()
    await laptop.locator('.push button').click()
    await page.locator('.ack.good').first().waitFor()
    const pushed = rowsOf(page, 'messaging.push').filter({ hasText: '[{"coffees":2}]' })
    await pushed.first().waitFor()

    await page.locator('#publish [name=room]').fill('user(1)')
    await page.locator('#publish [name=argument]').fill('Your order is ready')
    await page.locator('#publish button').click()
    await page.locator('#published.good').waitFor()
    assert.match(await page.locator('#published').textContent(), /2 recipients/)
    for (const device of [phone, laptop]) await device.locator('.inbox li', { hasText: 'Your order is ready' }).waitFor()
    assert.equal(await other.locator('.inbox li', { hasText: 'Your order' }).count(), 0)
    await until('the deliveries', async () => await rowsOf(page, 'messaging.delivery').count() === 2)
    assert.match(await rowsOf(page, 'messaging.message').first().textContent(), /to user\(1\): 2 recipients/)

    await page.locator('#publish [name=room]').fill('user(9)')
    await page.locator('#publish button').click()
    await rowsOf(page, 'messaging.message').filter({ hasText: '0 recipients' }).waitFor()

    await page.screenshot({ path: join(screenshots, 'demo-light.png'), fullPage: true })
    await page.emulateMedia({ colorScheme: 'dark' })
    await page.screenshot({ path: join(screenshots, 'demo-dark.png'), fullPage: true })
    await page.setViewportSize({ width: 390, height: 844 })
    assert.ok(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), 'it scrolls sideways on a phone')
    await page.screenshot({ path: join(screenshots, 'demo-phone.png'), fullPage: true })
    assert.deepEqual(page.problems, [])
    await page.close()
    await greyhound.row('messaging.connection', { event: 'closed', user_id: '1' })
  })

  test('a wrong token is refused and the page says why', async () => {
    const page = await open()
    await page.locator('#connect summary').click()
    await page.locator('#connect [name=token]').fill('nonsense')
    await page.locator('#connect button').click()
    const state = page.locator('.device .state[data-state=closed]')
    await state.waitFor()
    assert.equal(await state.textContent(), 'jwt malformed')
    await rowsOf(page, 'messaging.auth').filter({ hasText: 'refused' }).waitFor()
    await page.close()
  })

  test('what users send is shown as text, never run', async () => {
    const page = await open()
    const device = await addDevice(page, '3')
    await page.locator('#publish [name=room]').fill('user(3)')
    await page.locator('#publish [name=argument]').fill('<img src=x onerror=alert(1)>')
    await page.locator('#publish button').click()
    await device.locator('.inbox li', { hasText: '<img src=x' }).waitFor()
    assert.equal(await page.locator('.inbox img').count(), 0)
    assert.deepEqual(page.problems, [])
    await page.close()
  })

  test('filters hide a topic, and pausing keeps new rows out', async () => {
    const page = await open()
    await addDevice(page, '4')
    await rowsOf(page, 'messaging.auth').first().waitFor()
    await page.locator('#filters button', { hasText: 'auth' }).click()
    assert.equal(await rowsOf(page, 'messaging.auth').first().isVisible(), false)
    await page.locator('#pause').click()
    const before = await page.locator('#rows tr').count()
    const counted = await page.locator('#count-messaging').textContent()
    await page.locator('#publish button').click()
    await until('the message to be counted', async () => await page.locator('#count-messaging').textContent() !== counted)
    assert.equal(await page.locator('#rows tr').count(), before)
    await page.close()
  })

  test('the official client, from the bundle that the server serves, works in the browser', async () => {
    const page = await browser.newPage()
    await page.goto(`${greyhound.url}/demo/icon.svg`)
    const bundle = await fetch(`${greyhound.url}/socket.io/socket.io.js`)
    assert.equal(bundle.status, 200)
    assert.match(bundle.headers.get('content-type'), /javascript/)
    await page.evaluate(await bundle.text())
    const answer = await page.evaluate(token => new Promise(done => {
      const socket = globalThis.io.connect(location.origin)
      socket.on('authenticated', () => done('in')).on('unauthorized', why => done(why.message)).emit('authenticate', { token })
    }), greyhound.token('bundled'))
    assert.equal(answer, 'in')
    await page.close()
  })

  test('the page is not for strangers: another host name is refused', async () => {
    const { request } = await import('node:http')
    const status = await new Promise((done, fail) => request(`${greyhound.url}/demo/token?user=1`, { headers: { Host: 'evil.example' } },
      answer => done(answer.resume().statusCode)).on('error', fail).end())
    assert.equal(status, 403)
  })

  test('a page on another port of this machine gets no token, by no way that browsers have', async t => {
    const { createServer } = await import('node:http')
    const foreign = createServer((_, answer) => answer.setHeader('content-type', 'text/html').end('<!doctype html>'))
    await new Promise(done => foreign.listen(0, '127.0.0.1', done))
    t.after(() => foreign.close())
    const page = await browser.newPage()
    const answers = []
    page.on('response', answer => answer.url().startsWith(`${greyhound.url}/demo/`) && answers.push(answer.status()))
    await page.goto(`http://127.0.0.1:${foreign.address().port}`)
    const stolen = await page.evaluate(async url => {
      const embed = (tag, source) => new Promise(done => {
        const element = Object.assign(document.createElement(tag), { src: source, onload: () => done('loaded'), onerror: () => done('refused') })
        document.body.append(element)
      })
      const post = (type, mode) => fetch(`${url}/demo/token`, { method: 'POST', mode, headers: { 'content-type': type }, body: '{"user":"1"}' })
        .then(answer => answer.type === 'opaque' ? 'unread' : answer.ok ? 'read' : 'refused', () => 'refused')
      return [await embed('script', `${url}/demo/token?user=1`), await embed('script', `${url}/demo/rows`), await embed('script', `${url}/demo/page.js`),
        await post('application/json', 'cors'), await post('text/plain', 'cors'), await post('text/plain', 'no-cors')]
    }, greyhound.url)
    assert.deepEqual(stolen, ['refused', 'refused', 'refused', 'refused', 'refused', 'unread'])
    assert.ok(answers.length > 0 && answers.every(status => [403, 200].includes(status)), String(answers))
    await page.close()
  })

  test('a device whose connection breaks comes back, with a new token', async () => {
    const page = await open()
    const minted = []
    page.on('response', async answer => answer.url().endsWith('/demo/token') && minted.push(await answer.text()))
    const device = await addDevice(page, '7')
    const life = token => { const { iat, exp } = JSON.parse(Buffer.from(token.split('.')[1], 'base64url')); return exp - (iat ?? Date.now() / 1000) }
    await until('a token', () => minted.length > 0)
    assert.ok(life(minted[0]) > 0 && life(minted[0]) <= 300, `it is good for ${life(minted[0])} s`)
    await greyhound.kill()
    await device.locator('.state:not([data-state=live])').waitFor()
    const before = minted.length
    await greyhound.start()
    await device.locator('.state[data-state=live]').waitFor()
    assert.ok(minted.length > before, 'it came back with the token that it had')
    await page.close()
  })
})
