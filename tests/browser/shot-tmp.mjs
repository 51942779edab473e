import { chromium } from 'playwright-core'
import { start, until } from '../clients/greyhound.mjs'
const cleanups=[]
const g = await start({ after: f => cleanups.push(f) }, { env: { PLUGINS__MESSAGING__DEMO: 'on', NODE__NAME: 'web-1' } })
const b = await chromium.launch({ executablePath: '/usr/bin/chromium', args: ['--headless','--no-sandbox','--disable-gpu'] })
const page = await b.newPage({ viewport: { width: 1200, height: 860 } })
await page.emulateMedia({ colorScheme: 'light', reducedMotion: 'reduce' })
await page.goto(g.url)
await page.locator('#feed[data-state=live]').waitFor()
async function add(user) {
  const n = await page.locator('.device').count()
  await page.locator('#connect [name=user]').fill(user)
  await page.locator('#connect button').click()
  await until('device', async () => await page.locator('.device').count() === n + 1)
  const d = page.locator('.device').filter({ hasText: await page.locator('.device strong').first().textContent() })
  await d.locator('.state[data-state=live]').waitFor()
  return d
}
await add('2'); const phone = await add('1')
await phone.locator('[name=event]').fill('order')
await phone.locator('[name=argument]').fill('{"coffees": 2}')
await phone.locator('.push button').click()
await page.locator('.ack.good').first().waitFor()
await new Promise(d => setTimeout(d, 300))
await g.emit({ rooms: ['user(1)'], event: 'message', args: ['your coffee is ready'] })
await page.locator('#rows tr[data-topic="messaging.delivery"]').first().waitFor()
await new Promise(d => setTimeout(d, 800))
await page.screenshot({ path: '/tmp/demo.png' })
await b.close(); await g.stop(); for (const c of cleanups) await c()
