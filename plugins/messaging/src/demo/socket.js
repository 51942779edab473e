// A socket.io client of the size of this page: protocol 5 over engine.io 4, WebSocket only.
// Real programs use the clients from npm; this one is here so that the page needs nothing else.

export class Socket extends EventTarget {
  #web
  #over = false
  #acks = new Map()
  #nextAck = 0

  constructor(origin) {
    super()
    this.#web = new WebSocket(`${origin.replace(/^http/, 'ws')}/socket.io/?EIO=4&transport=websocket`)
    this.#web.onmessage = ({ data }) => this.#engine(data)
    this.#web.onclose = () => this.#end('transport close')
  }

  /** Sends an event; with `ack`, the answer is given to it. */
  emit(args, ack) {
    const id = ack ? this.#nextAck++ : ''
    if (ack) this.#acks.set(id, ack)
    this.#web.send(`42${id}${JSON.stringify(args)}`)
  }

  close() {
    if (this.#web.readyState === WebSocket.OPEN) this.#web.send('41')
    this.#web.close()
  }

  /** Loses the connection, as if the network had. */
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
    if (type === '0') this.#tell('connect', [])
    if (type === '1') this.#end('io server disconnect')
    if (type === '2') this.#tell('event', JSON.parse(body.replace(/^\d+/, '')))
    if (type === '3') this.#acknowledged(body)
    if (type === '4') this.#end(JSON.parse(body).message)
  }

  /** Tells once that it is over. */
  #end(reason) {
    if (this.#over) return
    this.#over = true
    this.#tell('disconnect', [reason])
    this.#web.close()
  }

  #acknowledged(body) {
    const [digits] = body.match(/^\d+/)
    this.#acks.get(Number(digits))?.(JSON.parse(body.slice(digits.length)))
    this.#acks.delete(Number(digits))
  }

  #tell(type, args) {
    this.dispatchEvent(new CustomEvent(type, { detail: args }))
  }
}
