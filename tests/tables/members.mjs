// Publishes as a Node server of the cluster and as emitters, to user(1), who is at the Node as well, to user(42), who is not, and to
// nobody: members.mjs PORT_OF_REDIS
import { login } from '../clients/sockets.mjs'
import { emitter, node } from '../cluster/node.mjs'
import { until } from '../clients/greyhound.mjs'

const [port] = process.argv.slice(2).map(Number)
const ends = []
const t = { after: end => ends.push(end) }
try {
  const server = await node(t, { url: `redis://127.0.0.1:${port}`, port })
  const client = await login(t, server, '1')
  const { io } = await emitter(t, 'socket.io-emitter-5', { port })
  // The same bytes again and again are as many messages.
  for (let n = 0; n < 3; n++) await server.io.to('user(1)').emit('message', 'from Node')
  await io.to('user(1)').emit('message', 'from an emitter')
  await io.to('user(nobody)').emit('message', 'to nobody')
  const old = await emitter(t, 'socket.io-emitter-1', { port })
  await old.io.to('user(nobody)').to('user(1)').emit('message', 'a copy to each room')
  for (const publisher of [server.io, io]) await publisher.to('user(42)').emit('message', 'to 42')
  await io.to('user(1)').emit('message', 'last')
  // In any order: they come over several connections.
  await until('all of it', () => client.seen.length >= 6)
  console.log(client.seen.length)
} finally {
  for (const end of ends) await end()
}
