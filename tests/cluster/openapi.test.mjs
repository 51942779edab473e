// What Greyhound says of its HTTP interface is a valid OpenAPI document, and it keeps to it.
import assert from 'node:assert/strict'
import { Validator } from '@seriousme/openapi-schema-validator'
import { createRequire } from 'node:module'
import { after, before, describe, test } from 'node:test'
import { start } from '../clients/greyhound.mjs'
import { login } from '../clients/sockets.mjs'
import { assembled, greyhound, shared } from './greyhound.mjs'
import { node } from './node.mjs'
import { redis } from './redis.mjs'

const require = createRequire(import.meta.url)
const Ajv = require('ajv/dist/2020').default
const addFormats = require('ajv-formats').default

const rooms = ['user(api)']
// A body beyond it is refused before it is read: one that the socket's buffers hold, so that its sender gets to read the answer.
const small = { PLUGINS__MESSAGING__MAX_PAYLOAD: '10kB' }
const good = { rooms, event: 'message', args: ['hello', { n: [1, null] }] }
const chosen = { rooms, except: ['user(x)'], namespace: '/', targets: ['a'] }

/** Requests and the status of their answers, in an order that they can be sent in. */
const requests = [
  ['POST', '/v1/messaging/emit', 200, good],
  ['POST', '/v1/messaging/emit', 200, { event: 'message' }],
  ['POST', '/v1/messaging/emit', 200, { ...good, except: ['user(x)'], namespace: '/', durable: false, volatile: true }],
  ['POST', '/v1/messaging/emit', 200, { ...good, event: 'question', args: [], ack_timeout: '2s' }],
  ['POST', '/v1/messaging/emit', 200, { ...good, rooms: ['user(nobody)'], ack_timeout: '100ms' }],
  ['POST', '/v1/messaging/emit', 400, { ...good, event: 'connect' }],
  ['POST', '/v1/messaging/emit', 400, { ...good, rooms: 'user(api)' }],
  ['POST', '/v1/messaging/emit', 404, { ...good, namespace: '/nowhere' }],
  ['POST', '/v1/messaging/emit', 413, { ...good, args: ['x'.repeat(20_000)] }],
  ['GET', '/v1/messaging/sockets', 200],
  ['GET', '/v1/messaging/sockets?room=user(api)&room=b&except=c&namespace=/', 200],
  ['GET', '/v1/messaging/sockets?namespace=/nowhere', 404],
  ['GET', '/v1/messaging/sockets?rome=x', 400],
  ['GET', '/v1/messaging/rooms', 200],
  ['GET', '/v1/messaging/rooms?namespace=/nowhere', 404],
  ['GET', '/v1/messaging/nodes?namespace=/', 200],
  ['GET', '/v1/messaging/nodes?namespace=/nowhere', 404],
  ['POST', '/v1/messaging/join', 200, chosen],
  ['POST', '/v1/messaging/join', 400, { rooms }],
  ['POST', '/v1/messaging/join', 404, { ...chosen, namespace: '/nowhere' }],
  ['POST', '/v1/messaging/leave', 200, chosen],
  ['POST', '/v1/messaging/leave', 400, { ...chosen, targets: 'a' }],
  ['POST', '/v1/messaging/disconnect', 200, { rooms: ['user(nobody)'] }],
  ['POST', '/v1/messaging/disconnect', 200, { rooms, close: true }],
  ['POST', '/v1/messaging/disconnect', 400, { rooms, close: 'yes' }],
  ['POST', '/v1/messaging/disconnect', 400, {}],
  ['POST', '/v1/messaging/disconnect', 200, { everybody: true, namespace: '/', except: rooms }],
  ['POST', '/v1/messaging/revocations', 200, { user: 'nobody' }],
  ['POST', '/v1/messaging/revocations', 200, { user: 'nobody', issued_before: 1_767_225_600 }],
  ['POST', '/v1/messaging/revocations', 200, { jti: 'nothing' }],
  ['POST', '/v1/messaging/revocations', 400, { user: 'nobody', sid: 'nothing' }],
  ['GET', '/v1/messaging/revocations', 200],
  ['DELETE', '/v1/messaging/revocations?user=nobody', 200],
  ['DELETE', '/v1/messaging/revocations?sid=nothing', 404],
  ['GET', '/v1/messaging/openapi.json', 200],
]

/** Sends all of the requests, and holds them and their answers against the document. */
async function keepsToIt(hound) {
  const document = await hound.json('/v1/messaging/openapi.json')
  const ajv = addFormats(new Ajv({ strict: false, allErrors: true }))
  ajv.addSchema(document, 'document')
  const fits = (pointer, value, what) => {
    const path = pointer.map(part => encodeURIComponent(String(part).replaceAll('~', '~0').replaceAll('/', '~1'))).join('/')
    const validate = ajv.compile({ $ref: `document#/${path}` })
    return assert.ok(validate(value), `${what}: ${ajv.errorsText(validate.errors)}: ${JSON.stringify(value).slice(0, 300)}`)
  }
  const used = new Set()
  for (const [method, url, status, body] of requests) {
    const [path] = url.split('?')
    const what = `${method} ${url} ${JSON.stringify(body ?? '').slice(0, 100)}`
    const operation = document.paths[path]?.[method.toLowerCase()]
    assert.ok(operation, `${what} is not in the document`)
    used.add(`${method} ${path}`)
    const at = ['paths', path, method.toLowerCase()]
    if (body && status === 200) fits([...at, 'requestBody', 'content', 'application/json', 'schema'], body, what)
    if (status === 200) {
      const known = (operation.parameters ?? []).map(({ $ref, name }) => name ?? document.components.parameters[$ref.split('/').at(-1)].name)
      for (const key of new URLSearchParams(url.split('?')[1]).keys()) assert.ok(known.includes(key), `${what}: \`${key}\` is not in the document`)
    }
    const answer = await fetch(hound.admin + url, { method, body: body && JSON.stringify(body), headers: body && { 'content-type': 'application/json' } })
    assert.equal(answer.status, status, `${what}: ${await answer.clone().text()}`)
    assert.ok(operation.responses[status], `${what}: the document has no ${status}`)
    // An answer that several operations share is kept in one place.
    const { $ref } = operation.responses[status]
    const response = $ref ? $ref.slice(2).split('/') : [...at, 'responses', status]
    fits([...response, 'content', 'application/json', 'schema'], await answer.json(), what)
  }
  const all = Object.entries(document.paths).flatMap(([path, operations]) => Object.keys(operations).filter(key => /^(get|post|put|patch|delete)$/.test(key))
    .map(method => `${method.toUpperCase()} ${path}`))
  assert.deepEqual(all.filter(operation => !used.has(operation)), [], 'the document has what is not tested here')
}

const json = { json: async function (path) { return fetch(this.admin + path).then(answer => answer.json()) } }

describe('the OpenAPI document', () => {
  const all = shared()
  let hound, peer
  before(async () => {
    const server = await redis(all)
    ;[hound, peer] = await Promise.all([greyhound(all, server, { env: small }), node(all, server)])
    Object.assign(hound, json)
    await assembled(server, 2)
  })
  after(() => all.end(() => hound.stop()))

  test('is valid', async () => {
    const { valid, errors } = await new Validator().validate(await hound.json('/v1/messaging/openapi.json'))
    assert.ok(valid, JSON.stringify(errors, null, 1))
  })

  test('has a name, a version and a description for everything', async () => {
    const document = await hound.json('/v1/messaging/openapi.json')
    assert.ok(document.info.title && document.info.version)
    const ids = Object.values(document.paths).flatMap(operations => Object.values(operations)).map(operation => operation.operationId)
    assert.ok(ids.every(Boolean))
    assert.equal(new Set(ids).size, ids.length)
  })

  test('describes what a member of a cluster takes and answers', async t => {
    const sockets = await Promise.all([hound, peer].map(server => login(t, server, 'api')))
    sockets.forEach(socket => socket.on('question', answer => answer('yes')))
    await keepsToIt(hound)
  })

  test('describes what a node alone takes and answers', async t => {
    const alone = Object.assign(await start(t, { env: small }), json)
    await login(t, alone, 'api')
    await keepsToIt(alone)
    await alone.stop()
  })

  test('describes what a member answers that has lost its cluster', async t => {
    const server = await redis(t)
    const lost = Object.assign(await greyhound(t, server, { env: small }), json)
    await login(t, lost, 'api')
    await server.kill()
    const document = await lost.json('/v1/messaging/openapi.json')
    assert.ok(document.paths['/v1/messaging/nodes'].get.responses[503], 'how many nodes there are is not known then')
    const answer = await lost.emit(good)
    assert.equal(answer.cluster.reached, false)
    const ajv = addFormats(new Ajv({ strict: false }))
    ajv.addSchema(document, 'document')
    const validate = ajv.compile({ $ref: 'document#/paths/~1v1~1messaging~1emit/post/responses/200/content/application~1json/schema' })
    assert.ok(validate(answer), ajv.errorsText(validate.errors))
    await lost.stop()
  })
})
