// What the servers of the product do: who sends a good token is in the rooms of his user and of his site.
const { createHmac } = require('crypto')

const secret = process.argv[3]

function claimsOf(token) {
  const [head, body, signature] = String(token).split('.')
  if (signature !== createHmac('sha256', secret).update(`${head}.${body}`).digest('base64url')) throw new Error('invalid signature')
  return JSON.parse(Buffer.from(body, 'base64url'))
}

/** `connected(socket, claims)` is called before the client is told. */
exports.authenticate = (socket, connected = () => {}) => {
  socket.on('authenticate', ({ token } = {}) => {
    try {
      const { id, site } = claimsOf(token)
      socket.join(`user(${id})`)
      if (site) socket.join(`site(${site})`)
      connected(socket, { id, site })
      socket.emit('authenticated')
    } catch ({ message }) {
      socket.emit('unauthorized', { message, inner: { message }, data: { message, code: 'invalid_token', type: 'UnauthorizedError' } })
    }
  })
}

/** Servers tell each other `news`, and `ask`, which is answered with the name of who was asked. */
exports.listen = (namespace, name) => {
  namespace.on('news', (...args) => process.send({ heard: ['news', ...args] }))
  namespace.on('ask', (...args) => {
    const answer = args.pop()
    process.send({ heard: ['ask', ...args] })
    answer(name)
  })
}
