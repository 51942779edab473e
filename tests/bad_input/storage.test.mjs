// A disk that does not do as it should, and files that are not what they were.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmod, mkdir, open, readdir, rm, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { test } from 'node:test'
import { prepare, start, until } from '../clients/greyhound.mjs'
import { login, push } from '../clients/sockets.mjs'

const isRoot = process.getuid() === 0

/** Starts it and expects that it gives up; returns what it printed. */
async function refused(greyhound) {
  greyhound.spawn()
  const { code } = await greyhound.exited
  assert.ok(code > 0, `exit ${code}: ${greyhound.output}`)
  assert.ok(!greyhound.output.includes('panicked'), greyhound.output)
  return greyhound.output
}

/** A small file system in memory in place of the data directory; false where this user may not mount one. */
function mountSmall(greyhound, options) {
  if (!isRoot) return false
  const path = greyhound.dataDir
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', path], { stdio: 'pipe' })
  } catch {
    return false
  }
  greyhound.beforeRemoval = () => execFileSync('umount', ['-l', path])
  return true
}

test('a data directory that is read-only is refused with its path', async t => {
  const greyhound = await prepare(t)
  await mkdir(greyhound.dataDir)
  // Root writes where it may not, but not on a file system that is read-only.
  if (isRoot) {
    if (!mountSmall(greyhound, 'size=1m,ro')) return t.skip('may not mount here')
  } else await chmod(greyhound.dataDir, 0o500)
  assert.ok((await refused(greyhound)).includes(greyhound.dataDir))
})

test('a data directory that is a file is refused with its path', async t => {
  const greyhound = await prepare(t)
  await writeFile(greyhound.dataDir, 'not a directory')
  assert.ok((await refused(greyhound)).includes(greyhound.dataDir))
})

test('a port that is taken is refused with its address', async t => {
  const first = await start(t)
  const second = await prepare(t, { port: first.port })
  assert.ok((await refused(second)).includes(String(first.port)))
  await first.stop()
})

test('a full disk stops recording, not delivering, and what is not recorded is a gap', { timeout: 120_000 }, async t => {
  const greyhound = await prepare(t, { env: { LOG__SEGMENT_SIZE: '1MiB' } })
  await mkdir(greyhound.dataDir)
  if (!mountSmall(greyhound, 'size=48m')) return t.skip('may not mount here')
  await greyhound.start()
  const socket = await login(t, greyhound, 'full')
  const filler = await open(join(greyhound.dataDir, 'filler'), 'w')
  const chunk = Buffer.alloc(256 * 1024)
  await until('the disk to be full', () => filler.write(chunk).then(() => false, error => error.code === 'ENOSPC'))
  await filler.close()

  const payload = 'x'.repeat(64_000)
  await until('/readyz to tell of the disk', async () => {
    socket.emit('filling', payload)
    const ready = await fetch(`${greyhound.admin}/readyz`)
    return ready.status === 503 && /disk|space/i.test(await ready.text())
  })
  // Messages go on.
  const before = socket.seen.length
  await greyhound.emit({ rooms: ['user(full)'], event: 'message', args: ['still'], durable: false })
  await until('the message', () => socket.seen.length > before)

  await rm(join(greyhound.dataDir, 'filler'))
  await until('readiness again', async () => (await fetch(`${greyhound.admin}/readyz`)).ok)
  await push(socket, 'after')
  await until('the row', async () => (await greyhound.rows('messaging.push')).some(row => row.event === 'after'))
  const numbers = (await greyhound.rows('messaging.push')).map(row => row.seq)
  const gaps = (await greyhound.rows('greyhound.gap')).filter(row => row.topic === 'messaging.push' && row.first_seq !== null)
  const named = new Set(gaps.flatMap(gap => Array.from({ length: gap.last_seq - gap.first_seq + 1 }, (_, n) => gap.first_seq + n)))
  for (let seq = 0; seq <= numbers.at(-1); seq++) assert.ok(numbers.includes(seq) !== named.has(seq), `row ${seq} is neither there nor named, or both`)
  await greyhound.stop()
})

/** The largest file of the journal. */
async function segment(greyhound) {
  const files = (await readdir(greyhound.dataDir, { recursive: true, withFileTypes: true }))
    .filter(entry => entry.isFile() && /journal|log/.test(entry.parentPath + entry.name) && !/lock|secret|cursor/.test(entry.name))
    .map(entry => join(entry.parentPath, entry.name))
  const sizes = await Promise.all(files.map(async path => ({ path, size: (await stat(path)).size })))
  return sizes.filter(file => file.size > 4096).sort((a, b) => b.size - a.size)[0].path
}

test('a journal that was damaged in the middle starts, keeps the rest and names what is gone', async t => {
  const greyhound = await start(t)
  const socket = await login(t, greyhound, 'damage')
  for (let n = 0; n < 200; n++) await push(socket, 'row', n)
  await greyhound.kill()

  const path = await segment(greyhound)
  const file = await open(path, 'r+')
  const rows = Buffer.alloc((await file.stat()).size)
  await file.read(rows, 0, rows.length, 0)
  const place = rows.indexOf(Buffer.from('[100]'))
  assert.ok(place > 0, 'the row is not in the journal as text')
  await file.write(Buffer.from('!'), 0, 1, place)
  await file.close()

  await greyhound.start()
  const numbers = (await greyhound.rows('messaging.push')).map(row => JSON.parse(row.data)[0])
  assert.ok(numbers.includes(0) && numbers.includes(199), 'what is not damaged is there')
  assert.ok(!numbers.includes(100))
  const gap = await greyhound.row('greyhound.gap', row => row.reason === 'damage')
  assert.equal(gap.topic, 'messaging.push')
  assert.equal(gap.last_seq - gap.first_seq + 1, 200 - numbers.length)
  await greyhound.stop()
})

test('a tail that was torn off is cut, and it goes on', async t => {
  const greyhound = await start(t)
  const socket = await login(t, greyhound, 'torn')
  for (let n = 0; n < 20; n++) await push(socket, 'row', n)
  await greyhound.kill()
  const file = await open(await segment(greyhound), 'a')
  await file.write(Buffer.from('half of a fra'))
  await file.close()
  await greyhound.start()
  assert.equal((await greyhound.rows('messaging.push')).length, 20)
  await greyhound.stop()
})

test('a damaged schema of older rows is refused with its topic', async t => {
  const greyhound = await start(t)
  await greyhound.stop()
  const schemas = join(greyhound.dataDir, 'journal/schemas')
  const name = (await readdir(schemas)).find(file => file.includes('messaging.push'))
  await writeFile(join(schemas, name), '{"type": "record"')
  assert.match(await refused(greyhound), /messaging\.push/)
})
