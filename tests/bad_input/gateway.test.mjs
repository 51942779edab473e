// What no client of ours would send: each gets a clear answer, and the next client is served as ever.
import assert from 'node:assert/strict'
import { connect as dial } from 'node:net'
import { after, before, describe, test } from 'node:test'
import WebSocket from 'ws'
import { start, until } from '../clients/greyhound.mjs'
import { fence, login, next, push } from '../clients/sockets.mjs'

describe('bad input at the gateway', () => {
  let greyhound
  const cleanups = []
  before(async () => {
    greyhound = await start({ after: f => cleanups.push(f) }, { env: { PLUGINS__MESSAGING__MAX_PAYLOAD: '100kB' } })
  })
  after(async () => {
    // It lives, serves, and never panicked.
    const cleanup = []
    const socket = await login({ after: f => cleanup.push(f) }, greyhound, 'survivor')
    await push(socket, 'alive')
    cleanup.forEach(f => f())
    await greyhound.stop()
    assert.ok(!greyhound.output.includes('panicked'), greyhound.output)
    for (const one of cleanups) await one()
  })

  const handshakes = {
    'no transport': ['/socket.io/?EIO=4', 0],
    'an unknown transport': ['/socket.io/?EIO=4&transport=pigeon', 0],
    'an unknown session': ['/socket.io/?EIO=4&transport=polling&sid=AAAAAAAAAAAAAAAA', 1],
    'no upgrade to a WebSocket': ['/socket.io/?EIO=4&transport=websocket', 3],
    'JSONP': ['/socket.io/?EIO=3&transport=polling&j=0', 3],
  }
  for (const [name, [path, code]] of Object.entries(handshakes)) {
    test(`a handshake with ${name} is answered as Node does`, async () => {
      const answer = await fetch(greyhound.url + path)
      assert.equal(answer.status, 400)
      const { code: got, message } = await answer.json()
      assert.equal(got, code)
      assert.ok(message.length > 5)
    })
  }

  test('a POST for a handshake is refused', async () => {
    const answer = await fetch(`${greyhound.url}/socket.io/?EIO=4&transport=polling`, { method: 'POST', body: '40' })
    assert.equal(answer.status, 400)
  })

  /** Sends bytes as they are and returns what comes back until the server closes, or until `enough`. */
  const raw = (bytes, enough = () => false) => new Promise((done, fail) => {
    let text = ''
    const socket = dial({ port: greyhound.port, host: '127.0.0.1' }, () => socket.write(bytes))
    socket.on('data', data => {
      text += data.toString('latin1')
      if (enough(text)) socket.destroy()
    })
    socket.on('error', () => {})
    socket.on('close', () => done(text))
    socket.setTimeout(60_000, () => fail(new Error('neither answered nor closed')))
  })

  test('what is not HTTP is refused and closed', async () => {
    for (const bytes of ['\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03', 'HELLO\r\n\r\n', '\0'.repeat(1000), 'GET / HTTP/9.9\r\n\r\n']) {
      const answer = await raw(bytes)
      assert.ok(answer === '' || /^HTTP\/1\.[01] (400|505)/.test(answer), answer)
    }
  })

  test('a header without end is refused', async () => {
    const answer = await raw(`GET /socket.io/?EIO=4&transport=polling HTTP/1.1\r\nX: ${'x'.repeat(1_000_000)}`)
    assert.ok(answer === '' || /^HTTP\/1\.1 4/.test(answer), answer)
  })

  /** A websocket by hand, past the open packet and, if told so, authenticated. */
  async function websocket(t, user) {
    const socket = new WebSocket(`${greyhound.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`)
    t.after(() => socket.terminate())
    socket.texts = []
    socket.closed = new Promise(done => socket.on('close', done))
    socket.on('message', data => socket.texts.push(String(data)))
    socket.on('error', () => {})
    await until('the open packet', () => socket.texts[0]?.startsWith('0'))
    if (user) {
      socket.send(`40${JSON.stringify({ token: greyhound.token(user) })}`)
      await until('authenticated', () => socket.texts.includes('42["authenticated"]'))
    }
    return socket
  }

  const packets = {
    'an unknown engine.io packet': 'z',
    'an empty packet': '',
    'an unknown socket.io packet': '49',
    'an event that is no JSON': '42[',
    'an event without a name': '42[]',
    'an event whose name is a number': '42[1,2]',
    'an event that is an object': '42{"a":1}',
    'an ack nobody asked for': '43999[]',
    'an ack id beyond all numbers': '4299999999999999999999999["x"]',
    'a binary event without its attachment': '451-["x",{"_placeholder":true,"num":0}]',
    'a binary event with a million attachments': '451000000-["x"]',
    'a connection to a namespace that is none': '40/nope,',
    'an event to a namespace that it is not in': '42/nope,["x"]',
    'JSON nested a thousand deep': `42["x",${'['.repeat(1000)}${']'.repeat(1000)}]`,
    'half a surrogate pair': '42["x","\\ud800"]',
  }
  for (const [name, packet] of Object.entries(packets)) {
    test(`${name} harms nobody else`, async t => {
      const bystander = await login(t, greyhound, 'bystander')
      const socket = await websocket(t, 'vandal')
      socket.send(packet)
      await fence(greyhound, [bystander])
      await push(bystander, 'still here')
    })
  }

  test('bytes where text is expected harm nobody else', async t => {
    const bystander = await login(t, greyhound, 'bystander')
    const socket = await websocket(t, 'vandal')
    socket.send(Buffer.from([0xff, 0xfe, 0, 1]))
    await fence(greyhound, [bystander])
  })

  test('a websocket message over max_payload closes the connection', async t => {
    const socket = await websocket(t, 'huge')
    socket.send(`42["huge","${'x'.repeat(200_000)}"]`)
    await socket.closed
    await greyhound.row('messaging.connection', { event: 'closed', user_id: 'huge' })
  })

  test('a connection reset in the midst of the handshake leaves no session behind', async () => {
    for (const protocol of [3, 4]) {
      for (let n = 0; n < 20; n++) {
        const socket = dial({ port: greyhound.port, host: '127.0.0.1' })
        await new Promise(done => socket.on('connect', done))
        socket.write(`GET /socket.io/?EIO=${protocol}&transport=websocket HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nUser-Agent: ghost\r\n`
          + 'Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n')
        socket.on('error', () => {})
        socket.resetAndDestroy()
      }
    }
    await until('every opened ghost to be closed', async () => {
      const rows = await greyhound.rows('messaging.connection')
      const closed = new Set(rows.filter(row => row.event === 'closed').map(row => row.connection_seq))
      return rows.filter(row => row.agent === 'ghost').every(row => closed.has(row.seq))
    }, 20_000)
  })

  test('clients that go away in the midst of everything leave nothing behind', async () => {
    const dash = n => new Promise(done => {
      const socket = new WebSocket(`${greyhound.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`, { headers: { 'User-Agent': 'dasher' } })
      socket.on('error', () => {})
      socket.on('close', done)
      socket.on('open', () => {
        // An event before the answer to CONNECT ends the session, as in Node, at whatever point its connection has reached.
        socket.send('40')
        if (n % 3) socket.send(`42["authenticate",{"token":"${greyhound.token('dasher')}"}]`)
        if (n % 2) socket.close()
        else setTimeout(() => socket.terminate(), n % 7)
      })
    })
    for (let round = 0; round < 5; round++) await Promise.all(Array.from({ length: 100 }, (_, n) => dash(n)))
    await until('every dasher to be closed', async () => {
      const rows = await greyhound.rows('messaging.connection')
      const closed = new Set(rows.filter(row => row.event === 'closed').map(row => row.connection_seq))
      return rows.filter(row => row.agent === 'dasher').every(row => closed.has(row.seq))
    })
    await until('the room to be empty', async () => (await greyhound.emit({ rooms: ['user(dasher)'], event: 'message', args: [] })).recipients === 0)
    const metrics = await (await fetch(`${greyhound.admin}/metrics`)).text()
    const open = Number(/^greyhound_messaging_connections (\d+)/m.exec(metrics)[1])
    const rows = await greyhound.rows('messaging.connection')
    assert.equal(open, rows.filter(row => row.event === 'opened').length - rows.filter(row => row.event === 'closed').length)
  })

  test('a request with 10,000 rooms is refused with a clear word, one with many is served', async t => {
    const socket = await login(t, greyhound, 'roomy')
    const rooms = count => ['user(roomy)', ...Array.from({ length: count - 1 }, (_, n) => `r${n}`)]
    const { status, json } = await greyhound.post('/v1/messaging/emit', { rooms: rooms(10_000), event: 'message', args: [] })
    assert.equal(status, 400)
    assert.match(json.error, /rooms/)
    const arrived = next(socket, 'message')
    assert.equal((await greyhound.emit({ rooms: rooms(500), event: 'message', args: [] })).recipients, 1)
    await arrived
  })

  test('what does not exist is a 404', async () => {
    assert.equal((await fetch(`${greyhound.url}/nowhere`)).status, 404)
    for (const path of ['/v1/topics/no.topic/tail', '/v1/nothing', '/v1/messaging/nothing', '/']) {
      const answer = await fetch(greyhound.admin + path)
      assert.equal(answer.status, 404)
      assert.ok((await answer.json()).error)
    }
  })

  test('what does not take a method says which it takes', async () => {
    for (const [path, method, allow] of [['/v1/messaging/emit', 'GET', 'POST'], ['/v1/topics', 'DELETE', 'GET,HEAD']]) {
      const answer = await fetch(greyhound.admin + path, { method })
      assert.equal(answer.status, 405)
      assert.equal(answer.headers.get('allow'), allow)
      assert.match((await answer.json()).error, new RegExp(method))
    }
  })

  test('a wrong query is refused with the parameter', async () => {
    const answer = await fetch(`${greyhound.admin}/v1/topics/messaging.push/tail?follow=banana`)
    assert.equal(answer.status, 400)
    assert.match((await answer.json()).error, /follow/)
  })
})

test('a page of an origin that is not allowed is kept out, also of a websocket', async t => {
  const greyhound = await start(t, { env: { PLUGINS__MESSAGING__ALLOWED_ORIGINS: '["https://Example.com:443", "capacitor://localhost", "null", "file://", "ionic://", "chrome-extension://abcdef"]' } })
  const answer = origin => new Promise(done => {
    const options = origin ? { origin } : {}
    const socket = new WebSocket(`${greyhound.url.replace('http', 'ws')}/socket.io/?EIO=4&transport=websocket`, options)
    socket.on('open', () => { socket.terminate(); done(101) })
    socket.on('unexpected-response', (_, response) => { response.resume(); done(response.statusCode) })
    socket.on('error', () => {})
  })
  assert.equal(await answer('https://example.com'), 101)
  assert.equal(await answer(), 101, 'a program that names no origin')
  for (const app of ['capacitor://localhost', 'null', 'file://', 'ionic://', 'chrome-extension://abcdef']) assert.equal(await answer(app), 101, app)
  for (const other of ['https://evil.example', 'https://example.com:8443', 'http://example.com', 'chrome-extension://other']) assert.equal(await answer(other), 403, other)
  const polled = await fetch(`${greyhound.url}/socket.io/?EIO=4&transport=polling`, { headers: { Origin: 'capacitor://localhost' } })
  assert.deepEqual([polled.status, polled.headers.get('access-control-allow-origin')], [200, 'capacitor://localhost'])
  // A secret is configured: there is no demo page that mints tokens.
  assert.equal((await fetch(greyhound.url)).status, 404)
  await greyhound.stop()
})
