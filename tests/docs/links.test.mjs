// Every link in the documentation leads somewhere: to a file of the repository, and to a heading in it.
import assert from 'node:assert/strict'
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { test } from 'node:test'
import { page, pages, prose, root } from './pages.mjs'

const links = page => [...prose(page).matchAll(/\]\(([^)\s]+)\)|(?:src|srcset|href)="([^"]+)"/g)].map(([, link, attribute]) => link ?? attribute)

/** The anchor that a heading gets. */
const anchor = heading => heading.trim().toLowerCase().replace(/[^\p{L}\p{N}\s_-]/gu, '').replace(/\s/g, '-')
const anchors = page => [...prose(page).matchAll(/^#+ (.*)$/gm)].map(([, heading]) => anchor(heading))

for (const from of pages) {
  test(`the links of ${from.path}`, () => {
    for (const link of links(from)) {
      if (/^[a-z]+:/.test(link)) {
        assert.ok(URL.canParse(link) && link.startsWith('http'), link)
        continue
      }
      const [file, heading] = link.split('#')
      const path = file ? join(dirname(from.path), file) : from.path
      assert.ok(existsSync(join(root, path)), `${link}: there is no ${path}`)
      if (heading !== undefined) assert.ok(anchors(page(path)).includes(heading), `${link}: ${path} has no such heading`)
    }
  })
}
