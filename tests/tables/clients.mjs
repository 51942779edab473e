// Socket.io clients that do as they are told: a JSON command a line from standard input, a JSON answer a line.
import { createRequire } from 'node:module'
import { createInterface } from 'node:readline'

const io = createRequire(import.meta.url)('socket.io-client-4')
const url = process.argv[2]
const devices = new Map()

const commands = {
  /** Connects the device `name` and authenticates it; the answer is the event that came. */
  login: ({ name, token }) => new Promise((done, fail) => {
    const socket = io.connect(url, { transports: ['websocket'], forceNew: true, reconnection: false })
    const device = { socket, messages: [], waiting: () => {} }
    devices.set(name, device)
    socket.on('message', (...args) => {
      device.messages.push(args)
      device.waiting()
    })
    socket.on('question', (...args) => args.at(-1)('yes'))
    for (const event of ['authenticated', 'unauthorized']) socket.on(event, () => done({ event }))
    socket.on('connect_error', fail)
    socket.emit('authenticate', { token })
  }),
  /** Pushes and waits for the ack. */
  push: ({ name, event, args }) => new Promise((done, fail) => {
    const { socket } = devices.get(name)
    socket.once('disconnect', fail)
    socket.emit(event, ...args, () => done({}))
  }),
  /** Pushes `event` with growing numbers from many clients until the server is gone; the answer has those that were acknowledged. */
  load: ({ event, prefix, clients, token }) => new Promise(done => {
    const acked = []
    let open = clients
    for (let n = 0; n < clients; n++) {
      const socket = io.connect(url, { transports: ['websocket'], forceNew: true, reconnection: false })
      let sent = 0
      const more = () => {
        const id = `${prefix}-${n}-${sent++}`
        socket.emit(event, id, () => {
          acked.push(id)
          more()
        })
      }
      socket.on('authenticated', () => { for (let i = 0; i < 8; i++) more() })
      socket.on('disconnect', () => --open || done({ acked }))
      socket.emit('authenticate', { token })
    }
  }),
  /** Waits until the device has received `count` messages. */
  received: ({ name, count }) => new Promise(done => {
    const device = devices.get(name)
    device.waiting = () => device.messages.length >= count && done({ messages: device.messages })
    device.waiting()
  }),
  close: async ({ name }) => {
    devices.get(name).socket.disconnect()
    return {}
  },
}

for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line)
  const answer = await commands[command.do](command).catch(error => ({ error: String(error?.message ?? error) }))
  process.stdout.write(`${JSON.stringify(answer)}\n`)
}
for (const { socket } of devices.values()) socket.disconnect()
