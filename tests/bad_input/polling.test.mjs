// Bodies that no client of ours would post: each is refused at once, and holds up nobody.
import assert from 'node:assert/strict'
import { connect as dial } from 'node:net'
import { after, before, describe, test } from 'node:test'
import { start, until } from '../clients/greyhound.mjs'
import { open } from '../clients/polling.mjs'
import { login, push } from '../clients/sockets.mjs'

describe('bad input by polling', () => {
  let greyhound
  const cleanups = []
  before(async () => {
    greyhound = await start({ after: f => cleanups.push(f) }, { env: { PLUGINS__MESSAGING__MAX_PAYLOAD: '100kB' } })
  })
  after(async () => {
    await greyhound.stop()
    assert.ok(!greyhound.output.includes('panicked'), greyhound.output)
    for (const cleanup of cleanups) await cleanup()
  })

  const bodies = {
    'a length that ends within a character': [3, '1:😀x'],
    'a length beyond the body': [3, '9:4x'],
    'no length': [3, '4x'],
    'a negative length': [3, '-1:4'],
    'a length of many digits': [3, `${'9'.repeat(5000)}:4`],
    'an empty packet': [4, '4x\x1e'],
    'no packet': [4, ''],
    'a packet of no type': [4, 'hello'],
    'bytes that are no text': [4, Buffer.from([0x34, 0xff])],
    'bytes that are no packets': [3, Buffer.from([0, 1, 2, 3]), 'application/octet-stream'],
  }
  for (const [name, [protocol, body, type]] of Object.entries(bodies)) {
    test(`${name}: refused at once, and the session is over`, async t => {
      const session = await open(greyhound, { protocol })
      const answer = await session.post(body, { headers: type ? { 'content-type': type } : {} })
      assert.equal(answer.status, 400)
      assert.equal((await answer.json()).code, 3)
      await until('its end', async () => (await session.post('4x')).status === 400)
      const bystander = await login(t, greyhound, 'bystander')
      await push(bystander, 'still here')
    })
  }

  test('80,000 chunks of a byte each are read as one body', async t => {
    const session = await open(greyhound, { protocol: 3 })
    const packet = `42["x","${'ž'.repeat(39_000)}"]`
    const body = Buffer.from(`${packet.length}:${packet}`)
    const chunks = Buffer.concat([...body].map(byte => Buffer.from([0x31, 0x0d, 0x0a, byte, 0x0d, 0x0a])))
    const { pathname, search } = new URL(session.url)
    const socket = dial({ port: greyhound.port, host: '127.0.0.1' })
    t.after(() => socket.destroy())
    let text = ''
    socket.on('data', data => (text += data)).on('error', () => {})
    socket.write(`POST ${pathname}${search} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n`)
    socket.write(Buffer.concat([chunks, Buffer.from('0\r\n\r\n')]))
    await until('the answer', () => text.includes('\r\n\r\n'))
    assert.match(text, /^HTTP\/1\.1 200/)
  })

  test('a body that is half sent is given up', async t => {
    const session = await open(greyhound)
    const { pathname, search } = new URL(session.url)
    const socket = dial({ port: greyhound.port, host: '127.0.0.1' })
    t.after(() => socket.destroy())
    let text = ''
    socket.on('data', data => (text += data)).on('error', () => {})
    socket.write(`POST ${pathname}${search} HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\n42["x"`)
    await until('the answer', () => text.includes('\r\n\r\n'), 20_000)
    assert.match(text, /^HTTP\/1\.1 408/)
  })

  test('max_payload bounds a body, and the attachments of an event together', async () => {
    const session = await (await open(greyhound)).login('large')
    assert.equal((await session.post(`42["x","${'x'.repeat(110_000)}"]`)).status, 413)
    await session.post('42["after"]')
    await greyhound.row('messaging.push', { user_id: 'large', event: 'after' })
    const part = Buffer.alloc(60_000).toString('base64')
    await session.post('452-["file",{"_placeholder":true,"num":0},{"_placeholder":true,"num":1}]')
    for (let n = 0; n < 2; n++) await session.post(`b${part}`)
    assert.equal((await greyhound.row('messaging.connection', { event: 'closed', user_id: 'large' })).reason, 'parse error')
    assert.equal((await greyhound.rows('messaging.push')).filter(row => row.event === 'file').length, 0)
  })

  test('handshakes without end over one connection find an end', async t => {
    const socket = dial({ port: greyhound.port, host: '127.0.0.1' })
    t.after(() => socket.destroy())
    let text = ''
    socket.on('data', data => (text += data)).on('error', () => {})
    const count = 5_000
    socket.write('GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nHost: x\r\n\r\n'.repeat(count))
    await until('all answers', () => text.split('HTTP/1.1 ').length - 1 === count)
    assert.equal(text.split('HTTP/1.1 200').length - 1, 100)
    assert.match(text, /HTTP\/1\.1 503[^]*retry-after: 5/i)
    const metrics = await (await fetch(`${greyhound.admin}/metrics`)).text()
    assert.match(metrics, /^greyhound_messaging_refused_sessions_total\{limit="connection"\} 4900$/m)
    // Nobody stays who does not connect to a namespace in time.
    const sessions = async () => Number(/^greyhound_messaging_sessions (\d+)/m.exec(await (await fetch(`${greyhound.admin}/metrics`)).text())[1])
    await until('their end', async () => await sessions() < 50)
  })
})
