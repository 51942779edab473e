// A configuration that cannot be: refused at start, all of it at once, with the keys' paths.
import assert from 'node:assert/strict'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { dirname, join, resolve } from 'node:path'
import { test } from 'node:test'
import { prepare, until } from '../clients/greyhound.mjs'

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

test('settings of Hadoop\'s client that cannot be are named with what was expected', async t => {
  const greyhound = await prepare(t, { env: { PLUGINS__ACTIVITY__STORE: 'hdfs://127.0.0.1:1/tables' } })
  await writeFile(join(greyhound.home, 'greyhound.toml'), `
[plugins.activity.hdfs.client]
dfs.client.socket-timeout = "5s"
dfs.client.failover.random.order.tables = "ture"
dfs.replication = 3
`)
  const { code, stderr } = await greyhound.cli('validate')
  assert.equal(code, 2)
  const below = 'plugins.activity.hdfs.client.'
  for (const told of [`${below}dfs.client.socket-timeout: is \`5s\`: expected a whole number`, `${below}dfs.client.failover.random.order.tables: is \`ture\``,
    `${below}dfs.replication: the client does not read it: leave it out`]) {
    assert.ok(stderr.includes(told), `${told} is not in:\n${stderr}`)
  }
})

// What HDFS takes that is on this machine is named although no NameNode can be reached: by `validate`, and at start.
for (const [what, { store = 'hdfs://127.0.0.1:1/tables', variables, files = {}, told }] of Object.entries({
  'no directory': { variables: { HADOOP_CONF_DIR: 'nowhere' }, told: 'nowhere (from HADOOP_CONF_DIR) is no directory' },
  'an empty directory': { store: 'hdfs://nowhere/tables', variables: { HADOOP_HOME: '.' }, files: { 'etc/hadoop/other.xml': '' }, told: './etc/hadoop (from HADOOP_HOME) has neither core-site.xml nor hdfs-site.xml' },
  'a file that cannot be read': { variables: { HADOOP_CONF_DIR: '.' }, files: { 'core-site.xml/x': '' }, told: '. (from HADOOP_CONF_DIR) has a core-site.xml that cannot be read: is a directory' },
  'a file that is not XML': { variables: { HADOOP_CONF_DIR: '.' }, files: { 'hdfs-site.xml': 'x' }, told: 'XML parse error' },
  'a nameservice that it does not know': {
    store: 'hdfs://nowhere/tables', variables: { HADOOP_CONF_DIR: '.' }, files: { 'hdfs-site.xml': '<configuration/>' },
    told: 'open hdfs://nowhere: invalid argument: No NameNode hosts found; Hadoop\'s files are in . (from HADOOP_CONF_DIR)',
  },
  'nothing, and a nameservice': { store: 'hdfs://nowhere/tables', variables: {}, told: 'neither HADOOP_CONF_DIR nor HADOOP_HOME is set' },
})) {
  test(`Hadoop's files, where HADOOP_CONF_DIR names ${what}`, async t => {
    const greyhound = await prepare(t, { env: { PLUGINS__ACTIVITY__STORE: store } })
    greyhound.plainEnv = { HADOOP_CONF_DIR: undefined, HADOOP_HOME: undefined, ...variables }
    for (const [name, text] of Object.entries(files)) {
      const file = join(greyhound.home, name)
      await mkdir(dirname(file), { recursive: true })
      await writeFile(file, text)
    }
    const { code, stderr } = await greyhound.cli('validate')
    assert.equal(code, 2)
    assert.ok(stderr.includes('plugins.activity.store: open hdfs://') && stderr.includes(told), stderr)
    greyhound.spawn()
    assert.equal((await greyhound.exited).code, 1)
    assert.ok(greyhound.output.includes(told), greyhound.output)
  })
}

for (const [what, hdfs, variables, told] of [
  ['keytab', { PRINCIPAL: 'g@X', KEYTAB: 'key' }, {}, 'key (from plugins.activity.hdfs.keytab) cannot be read: No such file'],
  ['ticket cache', { PRINCIPAL: 'g@X' }, { KRB5CCNAME: 'FILE:cache' }, 'cache (from KRB5CCNAME) cannot be read: No such file'],
]) {
  test(`a ${what} that is not there, while HDFS is away`, async t => {
    const env = Object.fromEntries(Object.entries(hdfs).map(([key, value]) => [`PLUGINS__ACTIVITY__HDFS__${key}`, value]))
    const greyhound = await prepare(t, { env: { PLUGINS__ACTIVITY__STORE: 'hdfs://127.0.0.1:1/tables', ...env } })
    greyhound.plainEnv = { HADOOP_CONF_DIR: undefined, HADOOP_HOME: undefined, ...variables }
    const { code, stderr } = await greyhound.cli('validate')
    assert.equal(code, 2)
    assert.ok(stderr.includes(told) && stderr.includes('log Greyhound in with Kerberos'), stderr)
    // The gateway does not wait for it: the sink says what it lacks, and goes on where it comes.
    greyhound.spawn()
    const parts = () => fetch(`${greyhound.admin}/readyz`).then(answer => answer.text(), () => '')
    await until('/readyz to name it', async () => (await parts()).includes(told))
    await writeFile(join(greyhound.home, told.split(' ')[0]), '')
    await until('/readyz to say what comes next', async () => !/cannot be read|^$/.test(await parts()))
    await greyhound.stop()
  })
}
