// Publishes to user(1), as a Node server of the cluster and as an emitter: members.mjs PORT_OF_REDIS
import { login } from '../clients/sockets.mjs'
import { emitter, node } from '../cluster/node.mjs'
import { allHave } from '../cluster/essentials.mjs'

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
  await io.to('user(1)').emit('message', 'last')
  await allHave([client])
  console.log(client.seen.length)
} finally {
  for (const end of ends) await end()
}
