// Lets the test at the other end of the IPC channel use an object of this process as if it were its own.
const CALLBACK = '$callback'

process.on('disconnect', () => process.exit())

/** What can be sent of a result: sockets as what is known of them, sets as arrays, no servers and operators. */
function plain(value) {
  if (value instanceof Set) return [...value]
  if (Array.isArray(value)) return value.map(plain)
  if (value === null || typeof value !== 'object') return typeof value === 'function' ? undefined : value
  if (value.handshake) return { id: value.id, rooms: [...value.rooms], data: value.data, handshake: value.handshake }
  return [Object.prototype, null].includes(Object.getPrototypeOf(value)) || Buffer.isBuffer(value) || value instanceof Date ? value : undefined
}

/** Walks the steps, [name] for a property and [name, args] for a call; a callback among the arguments makes its outcome the result. */
async function walk(target, steps) {
  let called
  for (const [name, args] of steps) {
    if (target[name] === undefined) throw new TypeError(`there is no \`${name}\``)
    if (!args) {
      target = target[name]
      continue
    }
    target = target[name](...args.map(arg => {
      // What comes through the channel is a view of more than itself.
      if (arg instanceof Uint8Array && !Buffer.isBuffer(arg)) return new Uint8Array(arg)
      if (arg !== CALLBACK) return arg
      let callback
      called = new Promise((done, fail) => (callback = (error, result) => error ? fail(Object.assign(error, { partial: result })) : done(result)))
      return callback
    }))
  }
  return called ?? target
}

exports.serve = objects => {
  process.on('message', async ({ id, object, steps }) => {
    try {
      process.send({ id, result: plain(await walk(objects[object], steps)) })
    } catch (error) {
      process.send({ id, error: String(error.message ?? error), partial: plain(error.partial) })
    }
  })
  process.send('ready')
}

exports.options = JSON.parse(process.argv[2])
