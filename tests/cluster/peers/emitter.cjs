// An emitter from npm, of any generation, with the Redis client that it was made for.
const { options, serve } = require('./driver.cjs')

const { package: name, port, key } = options
const prefix = key ? { key } : {}

async function emitter() {
  const made = require(name)
  if (!made.Emitter) return made({ host: '127.0.0.1', port, ...prefix })
  if (name === 'socket.io-emitter-4') return new made.Emitter(require('redis-3').createClient(port, '127.0.0.1'), prefix)
  const client = require('redis-5').createClient({ url: `redis://127.0.0.1:${port}` })
  await client.connect()
  return new made.Emitter(client, prefix)
}

emitter().then(io => serve({ io }))
