// A configuration that cannot be: refused at start, all of it at once, with the keys' paths.
import assert from 'node:assert/strict'
import { readFile, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { test } from 'node:test'
import { prepare } from '../clients/greyhound.mjs'

test('every mistake is named at once', async t => {
  const greyhound = await prepare(t)
  greyhound.settings = {}
  await writeFile(join(greyhound.home, 'greyhound.toml'), `
[node]
data_directory = "x"
[log]
durability = "perhaps"
[plugins.messaging]
listen = "nowhere"
ping_interval = 5
[plugins.messaging.auth]
algorithms = ["RS256"]
[plugins.activity]
freshness = "1ms"
[plugins.telepathy]
range = "far"
`)
  const { code, stderr, stdout } = await greyhound.cli('validate')
  assert.equal(code, 2)
  const text = stderr + stdout
  for (const key of ['node.data_directory', 'log.durability', 'plugins.messaging.listen', 'plugins.messaging.ping_interval',
    'plugins.messaging.auth.algorithms', 'plugins.activity.freshness', 'plugins.telepathy']) {
    assert.ok(text.includes(key), `${key} is not named in:\n${text}`)
  }
  greyhound.spawn()
  assert.equal((await greyhound.exited).code, 2)
})

test('a wrong value in the environment is named', async t => {
  const greyhound = await prepare(t, { env: { PLUGINS__MESSAGING__PING_TIMEOUT: 'soon' } })
  const { code, stderr } = await greyhound.cli('validate')
  assert.equal(code, 2)
  assert.match(stderr, /plugins\.messaging\.ping_timeout/)
})

test('a secret is never shown', async t => {
  const greyhound = await prepare(t, { env: { PLUGINS__MESSAGING__AUTH__SECRET: 'hunter2-hunter2', PLUGINS__MESSAGING__PING_TIMEOUT: 'soon' } })
  const { stdout, stderr } = await greyhound.cli('validate')
  assert.ok(!(stdout + stderr).includes('hunter2'))
})

test('the configuration that comes with it is valid', async t => {
  const greyhound = await prepare(t)
  greyhound.settings = {}
  await writeFile(join(greyhound.home, 'greyhound.toml'), await readFile(resolve(import.meta.dirname, '../../greyhound.toml')))
  const { code, stderr } = await greyhound.cli('validate')
  assert.equal(code, 0, stderr)
})

test('a file that is not TOML is refused with the line', async t => {
  const greyhound = await prepare(t)
  await writeFile(join(greyhound.home, 'greyhound.toml'), '[node\nname = 1')
  const { code, stderr } = await greyhound.cli('validate')
  assert.equal(code, 2)
  assert.match(stderr, /greyhound\.toml/)
  assert.match(stderr, /line|:\s*1/)
})
