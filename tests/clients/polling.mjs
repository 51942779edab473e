// Engine.io's polling by hand, for what no client library sends.
import assert from 'node:assert/strict'
import { until } from './greyhound.mjs'

/** A polling session past its open packet: `sid` is its secret. `packets` collects what polls bring, once `pull` is called. */
export async function open(greyhound, { protocol = 4, query = '', headers = {} } = {}) {
  const url = `${greyhound.url}/socket.io/?EIO=${protocol}&transport=polling${query}`
  const answer = await fetch(url, { headers })
  assert.equal(answer.status, 200, await answer.clone().text())
  const split = text => protocol === 4 ? text.split('\x1e') : [...lengths(text)]
  const [opened, ...rest] = split(await answer.text())
  const session = { answer, url: `${url}&sid=${JSON.parse(opened.slice(1)).sid}`, sid: JSON.parse(opened.slice(1)).sid, packets: rest }
  session.post = (body, options = {}) => fetch(session.url, { method: 'POST', body, headers: { 'content-type': 'text/plain;charset=UTF-8', ...options.headers } })
  session.poll = async () => {
    const answer = await fetch(session.url)
    const text = await answer.text()
    if (answer.ok) session.packets.push(...split(text).map(packet => packet.trimEnd()))
    return { status: answer.status, text, headers: answer.headers }
  }
  /** Polls until a packet fits. */
  session.until = fits => until(`a packet: ${fits}; there are ${session.packets}`, async () => {
    const found = session.packets.find(fits)
    if (!found) await session.poll()
    if (session.packets.includes('2') && protocol === 4) {
      session.packets.splice(session.packets.indexOf('2'), 1)
      await session.post('3')
    }
    return found
  })
  session.login = async user => {
    if (protocol === 4) await session.post('40')
    await session.until(packet => packet.startsWith('40'))
    const packet = `42["authenticate",{"token":"${greyhound.token(user)}"}]`
    await session.post(protocol === 4 ? packet : `${packet.length}:${packet}`)
    await session.until(packet => packet.startsWith('42["authenticated"'))
    return session
  }
  return session
}

function * lengths(text) {
  while (text) {
    const colon = text.indexOf(':')
    const end = colon + 1 + Number(text.slice(0, colon))
    yield text.slice(colon + 1, end)
    text = text.slice(end)
  }
}
