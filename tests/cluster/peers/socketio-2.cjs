// socket.io 2 with socket.io-redis 5.
const { createServer } = require('http')
const redisAdapter = require('socket.io-redis-5')
const { authenticate } = require('./contract.cjs')
const { options, serve } = require('./driver.cjs')

const { name, port, redis, namespaces, adapter } = options

const http = createServer()
const io = require('socket.io-2')(http, { serveClient: false })
io.adapter(redisAdapter({ host: '127.0.0.1', port: new URL(redis.url).port, ...adapter }))
for (const path of namespaces) {
  const namespace = io.of(path)
  namespace.on('connection', socket => authenticate(socket))
  namespace.adapter.customHook = (data, answer) => answer({ from: name, data })
  namespace.adapter.on('error', error => console.error(error))
}
http.listen(port, '127.0.0.1', () => serve({ io }))
