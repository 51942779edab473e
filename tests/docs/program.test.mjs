// What the documentation says of the program is there: keys, commands, options, routes, metrics, reasons.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { start } from '../clients/greyhound.mjs'
import { blocks, page, pages, quoted, root } from './pages.mjs'

const toml = readFileSync(join(root, 'greyhound.toml'), 'utf8')

/** The sections and the dotted keys in a TOML text, also those that are comments. */
function keys(text) {
  let section
  return text.split('\n').flatMap(line => {
    const header = /^\[([a-z.]+)\]/.exec(line)
    const key = /^(?:# )?"?([a-z_.-]+)"? = /.exec(line)
    if (header) return [section = header[1]]
    return section && key ? [`${section}.${key[1]}`] : []
  })
}
const documented = new Set(keys(toml))

/** Every piece of text in backquotes on any page that `pattern` finds something in: [page, what was found]. */
const mentions = pattern => pages.filter(({ path }) => path !== 'CHANGELOG.md').flatMap(page =>
  quoted(page).flatMap(code => [...code.matchAll(pattern)].map(found => [page.path, found])))

test('every key that a page names is in greyhound.toml', () => {
  for (const [path, [key]] of mentions(/^(plugins|log|node|admin|host)\.[a-z_.]+(?=$| = )/g)) assert.ok(documented.has(key), `${path}: ${key}`)
  for (const page of pages) {
    const tables = blocks(page).filter(({ language }) => language === 'toml')
    for (const key of tables.flatMap(({ code }) => keys(code))) assert.ok(documented.has(key), `${page.path}: ${key}`)
  }
})

test('docs/configuration.md names every section', () => {
  const told = [...page('docs/configuration.md').text.matchAll(/^\| `\[([a-z.]+)\]`/gm)].map(([, section]) => section)
  assert.deepEqual(told, [...toml.matchAll(/^\[([a-z.]+)\]/gm)].map(([, section]) => section))
})

test('no page names a metric that docs/metrics.md does not list', () => {
  const listed = [...page('docs/metrics.md').text.matchAll(/^\| `(greyhound_[a-z_]+)`/gm)].map(([, metric]) => metric)
  for (const [path, [metric]] of mentions(/\bgreyhound_(bus|journal|plugin|messaging|activity)_[a-z_]+/g)) assert.ok(listed.includes(metric), `${path}: ${metric}`)
})

test('docs/operating.md names every reason of greyhound.gap', () => {
  const reason = JSON.parse(readFileSync(join(root, 'schemas/greyhound.gap.avsc'), 'utf8')).fields.find(({ name }) => name === 'reason')
  const [, table] = /^## Gaps$([\s\S]*?)^## /m.exec(page('docs/operating.md').text)
  const told = [...table.matchAll(/^\| (`.*?`) \|/gm)].flatMap(([, cell]) => cell.replaceAll('`', '').split(', '))
  assert.deepEqual(told.sort(), [...reason.doc.matchAll(/`(\w+)`/g)].map(([, name]) => name).sort())
})

test("the README's figures are those of docs/benchmarks.md", () => {
  const figures = text => text.match(/(?<![p\d])\d[\d.,]*\d/g) ?? []
  const [, table] = /^## Figures$([\s\S]*?)^## /m.exec(page('README.md').text)
  const told = [...table.matchAll(/^\|[^|]+\|([^|]+)\|$/gm)].flatMap(([, cell]) => figures(cell))
  assert.equal(told.length, 5)
  for (const figure of told) assert.ok(figures(page('docs/benchmarks.md').text).includes(figure), figure)
})

describe('of the running program', () => {
  let hound
  const cleanups = []
  before(async () => (hound = await start({ after: cleanup => cleanups.push(cleanup) })))
  after(async () => {
    await hound.stop()
    for (const cleanup of cleanups) await cleanup()
  })

  test('every command and option that a page names is there', async () => {
    for (const [path, [, line]] of mentions(/^greyhound ((?:--?\w|\w).*)$/g)) {
      const [, words] = /^((?:[a-z]+ ?)*)/.exec(line)
      const options = line.match(/(?<= )--[a-z-]+/g) ?? []
      // Words that follow the command are its arguments: the longest beginning that is a command is what counts.
      let help = { code: 1 }
      for (let command = words.trim().split(' '); help.code && command.length; command.pop()) help = await hound.cli('help', ...command)
      assert.equal(help.code, 0, `${path}: greyhound ${line}`)
      for (const option of options) assert.ok(help.stdout.includes(option), `${path}: greyhound ${line}: no ${option}`)
    }
  })

  test('every route that a page names is served', async () => {
    const routes = mentions(/^(GET|POST|DELETE) (\/\S+)$/g)
    assert.ok(routes.length > 10)
    for (const [path, [route, method, template]] of routes) {
      const url = hound.admin + template.replace('<topic>', 'messaging.push').replace('<name>', 'nobody')
      // Another method, so that nothing happens.
      const answer = await fetch(url, { method: 'PATCH' })
      const allowed = answer.headers.get('allow') ?? ''
      assert.ok(answer.status === 405 && allowed.includes(method), `${path}: ${route}: ${answer.status}, allowed: ${allowed}`)
    }
  })

  test('docs/operating.md names every part of /readyz', async () => {
    const { parts } = await fetch(`${hound.admin}/readyz`).then(answer => answer.json())
    const told = quoted(page('docs/operating.md'))
    for (const part of Object.keys(parts)) assert.ok(told.includes(part.replace(/^activity\..*/, 'activity.<topic>')), part)
  })
})
