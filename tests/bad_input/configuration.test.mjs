// A configuration that cannot be: refused at start, all of it at once, with the keys' paths.
import assert from 'node:assert/strict'
import { chmod, mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import { test } from 'node:test'
import { prepare, start, until } from '../clients/greyhound.mjs'

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

test('no value is shown, whatever key it stands under', async t => {
  for (const toml of [
    'plugins.messaging.redis = "redis://:hunter2@host"', '[plugins.messaging]\nsecret = "hunter2"', '[plugins.messaging]\nauth = "hunter2"',
    '[plugins.messaging]\nlisten = "redis://:hunter2@host"\nnamespaces = "hunter2"\ndemo = "hunter2"\nping_interval = "hunter2"\nmax_payload = "hunter2"',
    '[plugins.messaging.redis]\nmode = "hunter2"', '[plugins.messaging.redis]\nurl = "redis://:hunter2/@host:1"', '[plugins.activity]\nstore = "redis://:hunter2@h"',
    '[plugins.messaging.auth]\nsecrets = "hunter2"', '[plugins.messaging.auth]\nsecret = hunter2', '[plugins.messaging.auth]\nsecret_file = "hunter2"',
    '[admin]\ntoken_file = "hunter2"', '[plugins.telepathy]\nsecret = "hunter2"',
  ]) {
    const greyhound = await prepare(t)
    greyhound.settings = {}
    await writeFile(join(greyhound.home, 'greyhound.toml'), toml)
    const { code, stdout, stderr } = await greyhound.cli('validate')
    assert.equal(code, 2, toml)
    assert.ok(!(stdout + stderr).includes('hunter2'), stderr)
    greyhound.spawn()
    assert.notEqual((await greyhound.exited).code, 0)
    assert.ok(!greyhound.output.includes('hunter2'), greyhound.output)
  }
  const greyhound = await prepare(t, { env: { PLUGINS__MESSAGING__REDIS: 'redis://:hunter2@host', LOG: 'hunter2', HOST__ON_FAILURE: 'hunter2' } })
  const { code, stdout, stderr } = await greyhound.cli('validate')
  assert.equal(code, 2)
  assert.ok(!(stdout + stderr).includes('hunter2'), stderr)
})

test('what would be ignored, or contradicts itself, gets a word', async t => {
  const greyhound = await prepare(t)
  greyhound.plainEnv = { GREYHOUND_PLUGINS_MESSAGING_AUTH_SECRET: 'x', GREYHOUND_SERVICE_HOST: '10.0.0.1', GREYHOUND_PORT: 'tcp://10.0.0.1:80' }
  const { code, stderr } = await greyhound.cli('validate')
  assert.equal(code, 2)
  assert.match(stderr, /: 1 problem\n.*AUTH_SECRET: this variable is not read; did you mean GREYHOUND__PLUGINS__MESSAGING__AUTH__SECRET/)
  delete greyhound.plainEnv
  for (const [args, told] of [
    [['--claim', 'id=2'], /--user already sets the claim `id`/], [['--site', 'a.de', '--claim', 'site=b.de'], /--site already sets/],
    [['--claim', 'a=1', '--claim', 'a=2'], /--claim a is given twice/], [['--site', 'https://a.de'], /expected something like "a.de"/],
  ]) {
    const refused = await greyhound.cli('token', '--user', '1', ...args)
    assert.equal(refused.code, 2, refused.stderr)
    assert.match(refused.stderr, told)
  }
})

test('the configuration that comes with it is valid', async t => {
  const greyhound = await prepare(t)
  const { ADMIN__LISTEN, PLUGINS__MESSAGING__LISTEN } = greyhound.settings
  greyhound.settings = { ADMIN__LISTEN, PLUGINS__MESSAGING__LISTEN }
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

// What a start would stumble over is found before, with its key and what to do; the start then says the same.
const listening = (t, port) => new Promise(done => {
  const server = createServer().listen(port, '127.0.0.1', () => done(server))
  t.after(() => server.close())
})
for (const [what, { env = {}, plainEnv, before, told, starts = false }] of Object.entries({
  'a missing secret file': { env: { PLUGINS__MESSAGING__AUTH__SECRET: undefined, PLUGINS__MESSAGING__AUTH__SECRET_FILE: './secret' }, told: /messaging\.auth\.secret_file: \.\/secret cannot be read: No such file.*put the secret into it/ },
  'an empty secret file': { env: { PLUGINS__MESSAGING__AUTH__SECRET: undefined, PLUGINS__MESSAGING__AUTH__SECRET_FILE: 'empty' }, told: /messaging\.auth\.secret_file: empty is empty/ },
  'a directory for a secret file': { env: { PLUGINS__MESSAGING__AUTH__SECRET: undefined, PLUGINS__MESSAGING__AUTH__SECRET_FILE: '.' }, told: /messaging\.auth\.secret_file: \. cannot be read: Is a directory/ },
  'an empty secret of its own': { env: { PLUGINS__MESSAGING__AUTH__SECRET: undefined }, before: async ({ dataDir }) => {
    await mkdir(join(dataDir, 'plugins/messaging'), { recursive: true })
    await writeFile(join(dataDir, 'plugins/messaging/secret'), '')
  }, told: /messaging\/secret is empty/ },
  'a missing token file': { env: { ADMIN__TOKEN_FILE: './token' }, told: /admin\.token_file: \.\/token cannot be read: No such file.*put the token into it/ },
  'an empty token file': { env: { ADMIN__TOKEN_FILE: 'empty' }, told: /admin\.token_file: empty is empty/ },
  'a missing bundle': { env: { PLUGINS__MESSAGING__CLIENT_BUNDLE: './bundle.js' }, told: /messaging\.client_bundle: \.\/bundle\.js cannot be read: .*leave it out/, starts: true },
  'a file for a data directory': { env: { NODE__DATA_DIR: 'empty' }, told: /node\.data_dir: .*\/empty is not a directory: move it away, or set another directory/ },
  'a data directory below a file': { env: { NODE__DATA_DIR: 'empty/a/b' }, told: /node\.data_dir: .*\/empty/ },
  'a file for the journal': { before: async ({ dataDir }) => {
    await mkdir(dataDir)
    await writeFile(join(dataDir, 'journal'), '')
  }, told: /node\.data_dir: .*journal is not a directory/ },
  'cursors that are damaged': { before: async ({ dataDir }) => {
    await mkdir(join(dataDir, 'cursors'), { recursive: true })
    await writeFile(join(dataDir, 'cursors/activity.cursors'), 'x')
  }, told: /node\.data_dir: cannot read the cursors in .*activity\.cursors: it is truncated; if you remove the file/ },
  'a journal of nobody': { before: async ({ dataDir }) => {
    await mkdir(join(dataDir, 'journal'), { recursive: true })
    await writeFile(join(dataDir, 'journal/shard'), 'x')
  }, told: /node\.data_dir: .*journal\/shard: / },
  'a file for the tables': { env: { PLUGINS__ACTIVITY__STORE: 'empty' }, told: /plugins\.activity\.store: .*\/empty is not a directory/, starts: true },
  'one port for two': { env: { ADMIN__LISTEN: '0.0.0.0:45678', PLUGINS__MESSAGING__LISTEN: '127.0.0.1:45678' }, told: /plugins\.messaging\.listen: is 127\.0\.0\.1:45678, but admin\.listen is 0\.0\.0\.0:45678: two listeners/ },
  'one port for two, by PORT': { env: { ADMIN__LISTEN: '127.0.0.1:45678' }, plainEnv: { PORT: '45678' }, told: /plugins\.messaging\.listen: is .*two listeners/ },
  'a port that is taken': { before: (greyhound, t) => listening(t, greyhound.port), told: /plugins\.messaging\.listen: cannot listen on .*in use.*another program uses it/, },
  'an address of another machine': { env: { ADMIN__LISTEN: '192.0.2.1:3001' }, told: /admin\.listen: cannot listen on 192\.0\.2\.1:3001: .*an address of this machine/ },
  'certificates that are not there': { env: { PLUGINS__MESSAGING__REDIS__URL: 'rediss://127.0.0.1:1' }, plainEnv: { SSL_CERT_FILE: './ca' }, told: /redis\.url: SSL_CERT_FILE: \.\/ca cannot be read/, starts: true },
})) {
  test(`validate finds ${what}`, async t => {
    const greyhound = await prepare(t, { env })
    greyhound.plainEnv = plainEnv
    await writeFile(join(greyhound.home, 'empty'), '')
    await before?.(greyhound, t)
    const { code, stderr } = await greyhound.cli('validate')
    assert.equal(code, 2, stderr)
    assert.match(stderr, told)
    assert.match(stderr, /: 1 problem\n|node\.data_dir/)
    if (starts) return
    greyhound.spawn()
    assert.notEqual((await greyhound.exited).code, 0)
  })
}

test('validate finds directories that cannot be written to', async t => {
  const greyhound = await prepare(t)
  await mkdir(join(greyhound.home, 'locked'))
  await chmod(greyhound.home, 0o755)
  await chmod(join(greyhound.home, 'locked'), 0o555)
  Object.assign(greyhound.settings, { NODE__DATA_DIR: 'locked', PLUGINS__ACTIVITY__STORE: 'locked/tables' })
  // Nothing is locked for root.
  const args = process.getuid() ? [] : ['--reuid', '65534', '--regid', '65534', '--clear-groups', greyhound.program]
  if (args.length) greyhound.program = 'setpriv'
  const { code, stderr } = await greyhound.cli(...args, 'validate')
  if (/Permission denied/.test(stderr) && args.length) return t.skip('the program is in a directory that nobody else may enter')
  assert.equal(code, 2, stderr)
  assert.match(stderr, /node\.data_dir: .*\/locked is not writable for the user \d+: give this user write access/)
  assert.match(stderr, /plugins\.activity\.store: .*\/locked\/tables cannot be created in .*\/locked for the user/)
})

test('a configuration is valid while the program runs with it', async t => {
  const greyhound = await start(t)
  const { code, stderr } = await greyhound.cli('validate')
  assert.equal(code, 0, stderr)
  await greyhound.stop()
})
