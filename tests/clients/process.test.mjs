// The life of the process: start, side by side, drain, kill.
import assert from 'node:assert/strict'
import { readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { connect as dial } from 'node:net'
import { freePort, mint, prepare, start, until } from './greyhound.mjs'
import { connect, login, next, push } from './sockets.mjs'

test('it says where everything is, and its line mints a token that works', async t => {
  const greyhound = await prepare(t, { env: { PLUGINS__MESSAGING__AUTH__SECRET: undefined } })
  await greyhound.start()
  for (const word of [greyhound.url, greyhound.tables, 'greyhound token --user']) {
    await until(`\`${word}\` in what it prints:\n${greyhound.output}`, () => greyhound.output.includes(word))
  }
  const { stdout, code } = await greyhound.cli('token', '--user', '1')
  assert.equal(code, 0)
  const socket = connect(t, greyhound.url)
  const accepted = next(socket, 'authenticated')
  socket.emit('authenticate', { token: stdout.trim() })
  await accepted
  await greyhound.row('messaging.auth', { user_id: '1', outcome: 'accepted' })

  const files = await readdir(greyhound.dataDir, { recursive: true })
  const path = join(greyhound.dataDir, files.find(file => file.endsWith('secret')))
  assert.equal((await stat(path)).mode & 0o777, 0o600)
  assert.ok(!greyhound.output.includes((await readFile(path, 'utf8')).trim()), 'the secret is shown')
  await greyhound.stop()
})

test('PORT overrides the port, so that two run side by side', async t => {
  const port = await freePort()
  const first = await start(t)
  const second = await prepare(t)
  second.plainEnv = { PORT: String(port) }
  second.url = `http://127.0.0.1:${port}`
  await second.start()
  const [a, b] = [await login(t, first, 1), await login(t, second, 1)]
  assert.equal((await first.emit({ rooms: ['user(1)'], event: 'message', args: [] })).recipients, 1)
  assert.ok(a.connected && b.connected)
  await Promise.all([first.stop(), second.stop()])
})

test('a second one on the same data directory is refused and names the holder', async t => {
  const first = await start(t)
  const second = await prepare(t, { env: { NODE__DATA_DIR: first.dataDir } })
  second.spawn()
  const { code } = await second.exited
  assert.notEqual(code, 0)
  assert.match(second.output, new RegExp(`\\b${first.child.pid}\\b`))
  assert.ok(second.output.includes(first.dataDir), second.output)
  assert.ok(!second.output.includes('panicked'), second.output)
  await first.stop()
})

test('SIGTERM tells the clients, finishes what was accepted and ends cleanly', async t => {
  const greyhound = await start(t)
  const socket = await login(t, greyhound, 'drained')
  const gone = next(socket, 'disconnect')
  for (let n = 0; n < 200; n++) socket.emit('last words', n)
  await push(socket, 'the end')
  await greyhound.stop()
  await gone
  await greyhound.start()
  const events = (await greyhound.rows('messaging.push')).filter(row => row.user_id === 'drained')
  assert.equal(events.length, 201)
  await greyhound.row('messaging.connection', { event: 'closed', user_id: 'drained', reason: 'server shutting down' })
  assert.deepEqual(await greyhound.rows('greyhound.gap'), [], 'a clean stop leaves no gap')
  await greyhound.stop()
})

for (const [format, line] of [['text', message => new RegExp(`INFO.* ${message}`)], ['json', message => new RegExp(`"message":"${message}"`)]]) {
  test(`starting, ready, draining and stopped are lines of the log, in ${format}; SIGHUP does not end it`, async t => {
    const greyhound = await prepare(t, { env: { HOST__LOG_FORMAT: format } })
    greyhound.plainEnv = { RUST_LOG: 'no=such=level' }
    await greyhound.start()
    greyhound.child.kill('SIGHUP')
    await until('SIGHUP to be told', () => /SIGHUP is ignored/.test(greyhound.output))
    assert.match(greyhound.output, /RUST_LOG is ignored/)
    await until('ready', () => line('ready').test(greyhound.output))
    await greyhound.emit({ event: 'message', args: [] })
    await greyhound.stop()
    for (const message of ['starting', 'ready', 'draining', 'stopped']) assert.match(greyhound.output, line(message))
    if (format === 'json') {
      const lines = allJson(greyhound.output)
      assert.ok(lines.some(({ message, clients, admin }) => message === 'running' && clients === greyhound.url && admin === greyhound.admin), greyhound.output)
    }
  })
}

/** All lines, each of which is JSON with what every line has. */
const allJson = output => output.trim().split('\n').map(line => {
  const { timestamp, level, message } = Object(JSON.parse(line))
  assert.ok(timestamp && level && message, line)
  return JSON.parse(line)
})

test('what goes wrong before logging is set up is JSON as well, where that is configured', async t => {
  const first = await start(t)
  for (const [what, toml, told] of [
    ['no TOML', '[host]\nlog_format = "json"\n[node', /line 3/],
    ['an unknown key', '[host]\nlog_format = "json"\n[node]\nnmae = 1', /did you mean `name`/],
    ['a directory that is taken', `[host]\nlog_format = "json"\n[node]\ndata_dir = "${first.dataDir}"`, /in use|held by|another/],
  ]) {
    const greyhound = await prepare(t)
    delete greyhound.settings.NODE__DATA_DIR
    await writeFile(join(greyhound.home, 'greyhound.toml'), toml)
    greyhound.spawn()
    assert.notEqual((await greyhound.exited).code, 0)
    assert.match(allJson(greyhound.output).find(line => line.level === 'ERROR').message, told, what)
  }
  await first.stop()
})

test('a second signal ends it at once', async t => {
  const greyhound = await start(t)
  greyhound.child.kill('SIGTERM')
  greyhound.child.kill('SIGINT')
  const { code, signal } = await greyhound.exited
  assert.ok(code !== null || signal !== null)
})

test('a consumer that does not read is reset and deleted while it runs; one that reads is not', async t => {
  const greyhound = await start(t)
  const socket = await login(t, greyhound, 1)
  for (let n = 0; n < 5; n++) await push(socket, 'order', n)
  const cursor = async () => (await fetch(`${greyhound.admin}/v1/consumers`).then(answer => answer.json())).consumers
    .find(({ name, topic }) => name === 'activity' && topic === 'messaging.push')
  await until('the sink to have read it', async () => (await cursor())?.lag === 0)
  assert.match((await greyhound.cli('consumers')).stdout, /activity +messaging\.push +5 +0 +yes +yes/)
  const active = await greyhound.cli('consumers', 'delete', 'activity')
  assert.equal(active.code, 1)
  assert.match(active.stderr, /the consumer `activity` is reading .*messaging\.push.*Nothing was changed\. Disable the plugin/)
  await greyhound.stop()

  greyhound.settings.PLUGINS__ACTIVITY__ENABLED = 'false'
  await greyhound.start()
  assert.equal((await cursor()).active, false)
  for (const [to, position] of [['earliest', 0], ['latest', 5], ['3', 3]]) {
    const { stdout, stderr } = await greyhound.cli('consumers', 'reset', 'activity', 'messaging.push', to)
    assert.equal(stdout, `activity continues in messaging.push at row ${position}\n`, stderr)
  }
  assert.equal((await cursor()).position, 3)
  assert.match((await greyhound.cli('consumers', 'reset', 'activity', 'messaging.push', '6')).stderr, /a number from 0 to 5/)
  assert.match((await greyhound.cli('consumers', 'reset', 'nobody', 'messaging.push', '3')).stderr, /the consumer `nobody` has no cursor/)
  await greyhound.restart()
  assert.equal((await cursor()).position, 3, 'it is durable')
  assert.match((await greyhound.cli('consumers', 'delete', 'activity', 'messaging.push')).stdout, /^activity is deleted in messaging\.push\n$/)
  assert.equal(await cursor(), undefined)
  assert.equal((await greyhound.cli('consumers', 'delete', 'activity')).code, 0)
  assert.deepEqual((await readdir(join(greyhound.dataDir, 'cursors'))), [])
  assert.equal((await greyhound.cli('consumers', 'delete', 'activity')).code, 1)
  await greyhound.stop()
})

test('what it writes is not for others to read, whatever the umask', async t => {
  const greyhound = await prepare(t, { env: { PLUGINS__MESSAGING__AUTH__SECRET: undefined } })
  const before = process.umask(0)
  try {
    await greyhound.start()
  } finally {
    process.umask(before)
  }
  await greyhound.emit({ event: 'message' })
  await until('a file of a table', async () => (await readdir(greyhound.tables, { recursive: true }).catch(() => [])).some(name => name.endsWith('.parquet')))
  await greyhound.stop()
  for (const home of [greyhound.dataDir, greyhound.tables]) {
    for (const name of ['.', ...await readdir(home, { recursive: true })]) {
      const found = await stat(join(home, name))
      const most = found.isDirectory() ? 0o750 : 0o640
      assert.equal(found.mode & 0o777 & ~most, 0, `${name}: ${(found.mode & 0o777).toString(8)}`)
    }
  }
  const names = await readdir(greyhound.dataDir, { recursive: true })
  for (const end of ['lock', 'shard', '.cursors', 'secret']) assert.ok(names.some(name => name.endsWith(end)), `${end} in ${names}`)
})

test('nothing acknowledged is lost when it is killed, again and again', async t => {
  const greyhound = await start(t)
  const acked = []
  for (let round = 0; round < 5; round++) {
    const sockets = await Promise.all(Array.from({ length: 4 }, (_, n) => login(t, greyhound, `k${n}`)))
    const want = acked.length + 150
    const load = sockets.map(async (socket, n) => {
      for (let i = 0; socket.connected; i++) {
        const id = `${round}-${n}-${i}`
        if (await Promise.race([push(socket, 'kill', id), next(socket, 'disconnect', 60_000).then(() => false)]).catch(() => false)) acked.push(id)
      }
    })
    await until('acks', () => acked.length >= want)
    await greyhound.restart()
    await Promise.all(load)
  }
  const recorded = (await greyhound.rows('messaging.push')).map(row => JSON.parse(row.data)[0])
  assert.equal(new Set(recorded).size, recorded.length, 'an event is there twice')
  assert.deepEqual(acked.filter(id => !recorded.includes(id)), [])
  const gaps = (await greyhound.rows('greyhound.gap')).filter(row => row.reason === 'unclean_stop')
  assert.equal(gaps.length, 5)
  await greyhound.stop()
})

test('a client that stops reading is closed, with a row, and holds nobody up', async t => {
  const greyhound = await start(t, { env: { PLUGINS__MESSAGING__WRITE_TIMEOUT: '1s' } })
  const healthy = await login(t, greyhound, 'healthy')
  const stalled = await deaf(t, greyhound, 'deaf')
  const payload = 'x'.repeat(100_000)
  let sent = 0
  await until('the deaf client to be closed', async () => {
    await greyhound.emit({ rooms: ['user(deaf)', 'user(healthy)'], event: 'message', args: [payload], durable: false })
    sent++
    return (await greyhound.rows('messaging.connection')).some(row => row.event === 'closed' && row.user_id === 'deaf')
  })
  const closed = await greyhound.row('messaging.connection', { event: 'closed', user_id: 'deaf' })
  assert.equal(closed.reason, 'slow client')
  await until('the healthy client to have everything', () => healthy.seen.length === sent)
  stalled.destroy()
  await greyhound.stop()
})

/** A websocket client by hand that authenticates and then never reads again. */
async function deaf(t, greyhound, user) {
  const socket = dial({ port: greyhound.port, host: '127.0.0.1' })
  t.after(() => socket.destroy())
  let text = ''
  socket.on('data', bytes => (text += bytes.toString('latin1')))
  const frame = message => {
    const body = Buffer.from(message)
    const head = body.length < 126 ? [0x81, 0x80 | body.length] : [0x81, 0xfe, body.length >> 8, body.length & 255]
    socket.write(Buffer.concat([Buffer.from([...head, 0, 0, 0, 0]), body]))
  }
  socket.write(`GET /socket.io/?EIO=4&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\n`
    + 'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n')
  await until('the open packet', () => text.includes('"sid"'))
  frame(`40${JSON.stringify({ token: mint({ id: user }) })}`)
  await until('authenticated', () => text.includes('42["authenticated"]'))
  socket.pause()
  return socket
}
