// Revokes tokens, and finds out whether they are accepted.
import assert from 'node:assert/strict'
import { connect } from './sockets.mjs'

/** What a client with this token is told: `authenticated`, or why not. */
export function verdict(t, greyhound, token, limit = 60_000) {
  const socket = connect(t, greyhound.url, { auth: { token } })
  return new Promise((done, fail) => {
    const timer = setTimeout(() => fail(new Error(`no verdict within ${limit} ms`)), limit)
    const told = verdict => {
      clearTimeout(timer)
      socket.disconnect()
      done(verdict)
    }
    socket.once('authenticated', () => told('authenticated'))
    socket.once('connect_error', error => told(error.message))
    // If the token is revoked just then.
    socket.once('unauthorized', why => told(why.message))
  })
}

/** Revokes, and returns the answer. */
export async function revoke(greyhound, body) {
  const { status, json } = await greyhound.post('/v1/messaging/revocations', body)
  assert.equal(status, 200, JSON.stringify(json))
  return json
}
