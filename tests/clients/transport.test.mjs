// Polling and the way from it to a WebSocket: as Node does it, and so that nothing on the way strands a client.
import assert from 'node:assert/strict'
import { createServer, connect as dial } from 'node:net'
import { createRequire } from 'node:module'
import { after, before, describe, test } from 'node:test'
import { start, until } from './greyhound.mjs'
import { open } from './polling.mjs'
import { connect, fence, login, next, push, transportOf } from './sockets.mjs'

const { WebSocket } = createRequire(import.meta.url)('ws')

describe('transports', () => {
  let greyhound
  const cleanups = []
  before(async () => {
    greyhound = await start({ after: f => cleanups.push(f) }, { env: { PLUGINS__MESSAGING__NAMESPACES: '["/", "/chat"]' } })
  })
  after(async () => {
    await greyhound.stop()
    for (const cleanup of cleanups) await cleanup()
  })

  for (const generation of ['1.7', '2.5', '3.1', '4.8']) {
    for (const way of ['polling', 'upgrade', 'websocket']) {
      test(`attachments that ${generation} pushes over ${way} are recorded`, async t => {
        const user = `bytes-${generation}-${way}`
        const socket = await login(t, greyhound, user, { generation, way })
        await push(socket, 'file', { name: 'x', bytes: Buffer.from([1, 3, 255, 4]) })
        const row = await greyhound.row('messaging.push', { user_id: user, event: 'file' })
        assert.deepEqual(JSON.parse(row.data), [{ name: 'x', bytes: 'AQP/BA==' }])
      })
    }
  }

  test('base64 is taken in the forms that Node takes', async t => {
    for (const base64 of ['AQID/w==', 'AQID/w', 'AQID\r\n/w==\r\n', 'AQID_w==']) {
      const session = await (await open(greyhound)).login('base64')
      assert.equal((await session.post(`451-7["file",{"_placeholder":true,"num":0}]\x1eb${base64}`)).status, 200)
      await session.until(packet => packet.startsWith('437['))
    }
    const rows = (await greyhound.rows('messaging.push')).filter(row => row.user_id === 'base64')
    assert.deepEqual(rows.map(row => row.data), Array(4).fill('["AQID/w=="]'))
  })

  test('answers to polls are never cached', async () => {
    const session = await open(greyhound)
    assert.equal(session.answer.headers.get('cache-control'), 'no-store')
    assert.equal((await session.post('40')).headers.get('cache-control'), 'no-store')
    assert.equal((await session.poll()).headers.get('cache-control'), 'no-store')
  })

  test('the id of a socket opens nothing: its secret is another', async t => {
    const session = await (await open(greyhound)).login('secretive')
    const { sockets } = await (await fetch(`${greyhound.admin}/v1/messaging/sockets?room=user(secretive)`)).json()
    const [{ id }] = sockets
    assert.notEqual(id, session.sid)
    assert.ok(session.packets.some(packet => packet.startsWith('40') && packet.includes(id)), 'the client knows its public id')
    const base = `${greyhound.url}/socket.io/?EIO=4&transport=`
    assert.equal((await fetch(`${base}polling&sid=${id}`)).status, 400)
    assert.equal((await fetch(`${base}polling&sid=${id}`, { method: 'POST', body: '41' })).status, 400)
    const thief = new WebSocket(`${base.replace('http', 'ws')}websocket&sid=${id}`)
    t.after(() => thief.terminate())
    const refused = await new Promise(done => thief.on('unexpected-response', (_, response) => done(response.statusCode)).on('open', () => done(101)).on('error', () => {}))
    assert.equal(refused, 400)
    // Also that of a socket that began with a WebSocket.
    const socket = await login(t, greyhound, 'open')
    assert.equal((await fetch(`${base}polling&sid=${socket.id}`)).status, 400)
  })

  /** A proxy that lets WebSockets through, and swallows what `swallows` says: bytes of the client's or of the server's. */
  async function swallower(t, swallows) {
    const server = createServer(client => {
      const upstream = dial({ port: greyhound.port, host: '127.0.0.1' })
      let websocket = false
      client.on('data', data => {
        if (websocket && swallows === 'client') return
        upstream.write(data)
        websocket ||= data.toString('latin1').includes('Sec-WebSocket-Key')
      })
      let shaken = false
      upstream.on('data', data => {
        if (websocket && shaken && swallows === 'server') return
        client.write(data)
        shaken ||= websocket && data.toString('latin1').includes('101 Switching')
      })
      for (const [from, to] of [[client, upstream], [upstream, client]]) from.on('error', () => {}).on('close', () => to.destroy())
    })
    await new Promise(done => server.listen(0, '127.0.0.1', done))
    t.after(() => server.close())
    return `http://127.0.0.1:${server.address().port}`
  }

  test('a WebSocket on which what one side sends is swallowed leaves a client with its polling session', async t => {
    const stays = async (swallows, generation) => {
      const user = `swallowed-${swallows}-${generation}`
      const socket = connect(t, await swallower(t, swallows), { generation, way: 'upgrade', reconnection: true })
      let disconnects = 0
      socket.on('disconnect', () => disconnects++)
      const authenticated = next(socket, 'authenticated')
      await next(socket, 'connect')
      socket.emit('authenticate', { token: greyhound.token(user) })
      await authenticated
      // Beyond the 10 s after which the server gives the WebSocket up.
      const deadline = Date.now() + 12_000
      for (let n = 0; Date.now() < deadline; n++) {
        const arrived = next(socket, 'message')
        await greyhound.emit({ rooms: [`user(${user})`], event: 'message', args: [n], durable: false })
        assert.deepEqual(await arrived, [n])
        await new Promise(done => setTimeout(done, 100))
      }
      assert.equal(disconnects, 0, user)
      assert.equal(transportOf(socket), 'polling')
    }
    await Promise.all(['client', 'server'].flatMap(side => ['2.5', '4.8'].map(generation => stays(side, generation))))
  })

  for (const generation of ['1.7', '2.5']) {
    for (const way of ['websocket', 'polling', 'upgrade']) {
      test(`a namespace with a query is that namespace to ${generation} over ${way}`, async t => {
        const socket = connect(t, `${greyhound.url}/chat?a=b&c=d`, { generation, way })
        const authenticated = next(socket, 'authenticated')
        socket.emit('authenticate', { token: greyhound.token(`query-${generation}-${way}`) })
        await authenticated
        await fence(greyhound, [socket], '/chat')
      })
    }
  }

  test('a request that cannot become a WebSocket is refused with a reason', async () => {
    const answer = await fetch(`${greyhound.url}/socket.io/?EIO=4&transport=websocket`)
    assert.equal(answer.status, 400)
    const { code, context } = await answer.json()
    assert.equal(code, 3)
    assert.match(context.name, /upgrade/)
  })

  test('an empty session id, no protocol, and a hundred headers and more are no obstacles', async () => {
    const headers = Object.fromEntries(Array.from({ length: 150 }, (_, n) => [`x-header-${n}`, 'x']))
    for (const query of ['EIO=4&transport=polling&sid=', 'transport=polling']) {
      const answer = await fetch(`${greyhound.url}/socket.io/?${query}`, { headers })
      assert.equal(answer.status, 200)
      assert.match(await answer.text(), /"sid"/)
    }
  })

  test('white space at the end of a packet is none of its text', async () => {
    const session = await (await open(greyhound)).login('spacious')
    await session.post('427["spaced","x"] \n')
    await session.until(packet => packet.startsWith('437['))
    const token = greyhound.token('spacious')
    await session.post(`42["authenticate",{"token":"${token}"}]\n`)
    const row = await greyhound.row('messaging.push', { user_id: 'spacious', event: 'spaced' })
    assert.equal(row.data, '["x"]')
  })

  test('a poll that is given up loses nothing', async () => {
    const session = await (await open(greyhound)).login('impatient')
    const { pathname, search } = new URL(session.url)
    const poll = dial({ port: greyhound.port, host: '127.0.0.1' })
    poll.write(`GET ${pathname}${search} HTTP/1.1\r\nHost: x\r\n\r\n`)
    await session.post('3')
    // The server has seen it as soon as it closes its side as well.
    const seen = new Promise(done => poll.resume().on('close', done))
    poll.end()
    await seen
    await greyhound.emit({ rooms: ['user(impatient)'], event: 'message', args: ['kept'] })
    await session.until(packet => packet === '42["message","kept"]')
  })

  test('what a polling client sent and got is counted, and its transport at the end is told', async t => {
    const session = await (await open(greyhound)).login('counted')
    await greyhound.emit({ rooms: ['user(counted)'], event: 'message', args: ['x'.repeat(100_000)] })
    await session.until(packet => packet.startsWith('42["message"'))
    await session.post('1')
    const closed = await greyhound.row('messaging.connection', { event: 'closed', user_id: 'counted' })
    assert.ok(closed.sent_bytes > 100_000 && closed.sent_bytes < 110_000, `${closed.sent_bytes}`)
    assert.equal(closed.transport, 'polling')
    const socket = await login(t, greyhound, 'upgraded', { way: 'upgrade' })
    socket.disconnect()
    assert.equal((await greyhound.row('messaging.connection', { event: 'closed', user_id: 'upgraded' })).transport, 'websocket')
  })
})
