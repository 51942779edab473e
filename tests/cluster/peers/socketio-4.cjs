// socket.io 4 with @socket.io/redis-adapter 8, over the Redis client and the kind of Redis that the options name.
const { readFileSync } = require('fs')
const { createServer } = require('http')
const { Server } = require('socket.io-4')
const { createAdapter, createShardedAdapter } = require('@socket.io/redis-adapter')
const { authenticate, listen } = require('./contract.cjs')
const { options, serve } = require('./driver.cjs')

const { name, port, redis, namespaces, sharded, adapter } = options

async function connect() {
  if (redis.client === 'ioredis') {
    const { Redis, Cluster } = require('ioredis')
    if (redis.ports) return new Cluster(redis.ports.map(port => ({ host: '127.0.0.1', port })), { slotsRefreshInterval: 1000 })
    if (redis.sentinel) return new Redis({ sentinels: [{ host: '127.0.0.1', port: redis.sentinel }], name: redis.name })
    return new Redis(redis.url)
  }
  const { createClient, createCluster } = require(redis.client ?? 'redis-5')
  const client = redis.ports
    ? createCluster({ rootNodes: redis.ports.map(port => ({ url: `redis://127.0.0.1:${port}` })) })
    : createClient({ url: redis.url, ...redis.ca && { socket: { tls: true, ca: readFileSync(redis.ca) } } })
  client.on('error', () => {})
  return client.connect().then(() => client)
}

async function main() {
  const http = createServer()
  const io = new Server(http, { allowEIO3: true, serveClient: false })
  const clients = [await connect(), await connect()]
  clients.forEach(client => client.on('error', () => {}))
  io.adapter((sharded ? createShardedAdapter : createAdapter)(...clients, adapter))
  for (const path of namespaces) {
    const namespace = io.of(path)
    listen(namespace, name)
    namespace.on('connection', socket => authenticate(socket, (socket, claims) => (socket.data = { user: claims.id })))
  }
  await new Promise(done => http.listen(port, '127.0.0.1', done))
  serve({ io })
}

main()
