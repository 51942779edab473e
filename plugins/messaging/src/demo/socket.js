// A minimal socket.io client: protocol 5 over engine.io 4, WebSocket only.
// It saves the page a dependency; programs should use the clients from npm.

export class Socket extends EventTarget {
  #web
  #over = false
  #acks = new Map()
  #nextAck = 0

  constructor(origin) {
    super()
    this.#web = new WebSocket(`${origin.replace(/^http/, 'ws')}${document.documentElement.dataset.path}/?EIO=4&transport=websocket`)
    this.#web.onmessage = ({ data }) => this.#engine(data)
    this.#web.onclose = () => this.#end('transport close')
  }

  /** Sends an event. Calls `ack`, if given, with the answer. */
  emit(args, ack) {
    const id = ack ? this.#nextAck++ : ''
    if (ack) this.#acks.set(id, ack)
    this.#web.send(`42${id}${JSON.stringify(args)}`)
  }

  close() {
    if (this.#web.readyState === WebSocket.OPEN) this.#web.send('41')
    this.#web.close()
  }

  /** Drops the connection as a network failure would. */
  drop() {
    this.#web.close()
  }

  /** Handles an engine.io packet: 0 open, 2 ping, 4 a socket.io packet. */
  #engine(packet) {
    if (typeof packet !== 'string') return
    if (packet[0] === '0') this.#web.send('40')
    if (packet[0] === '2') this.#web.send('3')
    if (packet[0] === '4') this.#packet(packet[1], packet.slice(2))
  }

  /** Handles a socket.io packet: 0 connected, 1 disconnect, 2 event, 3 ack, 4 refused. */
  #packet(type, body) {
    if (type === '0') this.#dispatch('connect', [])
    if (type === '1') this.#end('io server disconnect')
    if (type === '2') this.#dispatch('event', JSON.parse(body.replace(/^\d+/, '')))
    if (type === '3') this.#acknowledged(body)
    if (type === '4') this.#end(JSON.parse(body).message)
  }

  /** Dispatches `disconnect`, once. */
  #end(reason) {
    if (this.#over) return
    this.#over = true
    this.#dispatch('disconnect', [reason])
    this.#web.close()
  }

  #acknowledged(body) {
    const [digits] = body.match(/^\d+/)
    this.#acks.get(Number(digits))?.(JSON.parse(body.slice(digits.length)))
    this.#acks.delete(Number(digits))
  }

  #dispatch(type, args) {
    this.dispatchEvent(new CustomEvent(type, { detail: args }))
  }
}
