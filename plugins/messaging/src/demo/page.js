import { Socket } from './socket.js'

const $ = id => document.getElementById(id)
const clock = time => new Date(time).toLocaleTimeString('en-GB', { hour12: false })
const plural = (n, word) => `${n.toLocaleString('en')} ${word}${n === 1 ? '' : 's'}`
const counts = { clients: 0, messaging: 0, bus: 0 }
const words = { clients: 'device', messaging: 'message', bus: 'row' }

function element(tag, className, text) {
  const made = document.createElement(tag)
  if (className) made.className = className
  if (text !== undefined) made.textContent = text
  return made
}

function say(output, text, mood) {
  output.textContent = text
  output.className = output.className.replace(/\b(good|bad)\b/g, '').trim()
  if (mood) output.classList.add(mood)
}

function count(stage, by) {
  counts[stage] += by
  $(`count-${stage}`).textContent = plural(counts[stage], words[stage])
  pulse(stage)
}

function pulse(stage) {
  const place = $(`stage-${stage}`)
  place.classList.remove('pulse')
  void place.offsetWidth // restarts the animation
  place.classList.add('pulse')
}

/** Parses the input as JSON, or else takes it as text. Empty input means no argument. */
function argument(text) {
  if (text.trim() === '') return []
  try { return [JSON.parse(text)] } catch { return [text] }
}

// === devices ===

async function mint(user) {
  const answer = await fetch('/demo/token', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify({ user }) })
  if (!answer.ok) throw new Error(await answer.text())
  return answer.text()
}

/** The user that a token names, for display only: the server verifies the token. */
function subject(token, otherwise) {
  try {
    const claims = JSON.parse(atob(token.split('.')[1].replaceAll('-', '+').replaceAll('_', '/')))
    return String(claims.id ?? claims.sub ?? otherwise)
  } catch {
    return otherwise
  }
}

$('origin').textContent = location.origin

let devicesMade = 0

/** How often a device gets a new token: sooner than `TOKEN_LIFE`, because a device whose token expires is disconnected. */
const renewal = 60_000

/** Calls `token` for each connection, because an earlier token may have expired, and if it `renews`, again and again. */
function addDevice(user, token, renews) {
  const card = $('device').content.firstElementChild.cloneNode(true)
  let socket, closed
  const parts = { name: card.querySelector('strong'), state: card.querySelector('.state'), inbox: card.querySelector('.inbox'), ack: card.querySelector('.ack') }
  parts.name.textContent = `User ${user} · device ${++devicesMade}`
  $('devices').querySelector(':scope > .empty')?.remove()
  $('devices').prepend(card)

  function connect() {
    show(parts.state, 'waiting', 'connecting')
    socket = new Socket(location.origin)
    socket.addEventListener('connect', () => authenticate(socket, token, parts))
    socket.addEventListener('event', ({ detail: [event, ...args] }) => received(parts, user, event, args))
    socket.addEventListener('disconnect', ({ detail: [reason] }) => {
      if (parts.state.dataset.state === 'live') count('clients', -1)
      show(parts.state, 'closed', parts.state.dataset.refused ?? reason)
      // As socket.io's clients do: reconnect, unless the server disconnected the device.
      if (reason === 'transport close' && !closed && !parts.state.dataset.refused) setTimeout(() => closed || connect(), 500 + 500 * Math.random())
    })
  }
  connect()
  const renewing = renews && setInterval(() => parts.state.dataset.state === 'live' && authenticate(socket, token, parts), renewal)
  card.querySelector('form').addEventListener('submit', submit => pushed(submit, socket, parts))
  card.querySelector('.close').addEventListener('click', () => {
    closed = true
    clearInterval(renewing)
    socket.close()
    card.remove()
  })
}

async function authenticate(socket, token, parts) {
  try {
    socket.emit(['authenticate', { token: await token() }])
  } catch (error) {
    show(parts.state, 'waiting', error.message)
    socket.drop()
  }
}

function show(state, name, text) {
  state.dataset.state = name
  state.textContent = text
}

function received(parts, user, event, args) {
  if (event === 'authenticated') {
    if (parts.state.dataset.state !== 'live') count('clients', 1)
    show(parts.state, 'live', 'authenticated')
    knownRoom(`user(${user})`)
  } else if (event === 'unauthorized') {
    if (parts.state.dataset.state === 'live') count('clients', -1)
    parts.state.dataset.refused = args[0].message
    show(parts.state, 'closed', args[0].message)
  } else {
    pulse('clients')
    const line = element('li')
    line.append(element('time', '', clock(Date.now())), element('b', '', event), element('span', '', args.map(readable).join(', ')))
    parts.inbox.querySelector('.empty')?.remove()
    parts.inbox.append(line)
    while (parts.inbox.children.length > 200) parts.inbox.firstElementChild.remove()
    parts.inbox.scrollTop = parts.inbox.scrollHeight
  }
}

const readable = value => typeof value === 'string' ? value : JSON.stringify(value)

function pushed(submit, socket, parts) {
  submit.preventDefault()
  const { event, argument: text } = Object.fromEntries(new FormData(submit.target))
  if (parts.state.dataset.state !== 'live') return say(parts.ack, 'This device is not authenticated.', 'bad')
  const began = performance.now()
  say(parts.ack, 'pushed, waiting for acknowledgement')
  socket.emit([event, ...argument(text)], () => {
    say(parts.ack, `acknowledged: on disk after ${(performance.now() - began).toFixed(1)} ms`, 'good')
  })
}

$('connect').addEventListener('submit', async submit => {
  submit.preventDefault()
  const { user, token: own } = Object.fromEntries(new FormData(submit.target))
  try {
    const token = own.trim()
    if (token) return addDevice(subject(token, user), () => token)
    await mint(user) // throws the reason if there is no token
    addDevice(user, () => mint(user), true)
  } catch (error) {
    alert(`No token: ${error.message}`)
  }
})

// === publishing ===

function knownRoom(room) {
  if (![...$('rooms').options].some(option => option.value === room)) $('rooms').append(new Option(room, room))
}

const typed = () => Object.fromEntries(new FormData($('publish')))
const quoted = text => `'${text.replaceAll("'", `'\\''`)}'`

function showCommand() {
  const { room, event, argument: text } = typed()
  const rooms = room ? ` --room ${quoted(room)}` : ''
  const args = argument(text).map(value => ` ${quoted(JSON.stringify(value))}`).join('')
  $('command').textContent = `greyhound emit${rooms} ${/^[\w-]+$/.test(event) ? event : quoted(event)}${args}`
}

$('publish').addEventListener('input', showCommand)
$('publish').addEventListener('submit', async submit => {
  submit.preventDefault()
  const { room, event, argument: text } = typed()
  const body = { rooms: room ? [room] : [], event, args: argument(text) }
  try {
    const answer = await fetch('/demo/emit', { method: 'POST', headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) })
    const reply = await answer.json()
    if (!answer.ok) throw new Error(reply.error)
    say($('published'), `message ${reply.seq}: ${plural(reply.recipients, 'recipient')}`, reply.recipients ? 'good' : '')
  } catch (error) {
    say($('published'), error.message, 'bad')
  }
})
showCommand()

// === activity ===

const topics = {
  'messaging.connection': { hue: 205, read: row => [row.event, row.event === 'opened' ? 'good' : 'quiet', row.event === 'opened'
    ? `${row.transport}, engine.io ${row.protocol}, ${row.namespace}` : `${row.reason} after ${(row.duration_ms / 1000).toFixed(1)} s, ${plural(row.sent_bytes, 'byte')} sent`] },
  'messaging.auth': { hue: 150, read: row => [row.outcome, row.outcome === 'accepted' ? 'good' : 'bad', row.reason ?? `by ${row.method}`] },
  'messaging.message': { hue: 265, read: row => [row.event, row.recipients ? '' : 'warn', `to ${row.rooms.join(', ') || 'everybody'}: ${plural(row.recipients, 'recipient')}, ${plural(row.size_bytes, 'byte')}`] },
  'messaging.delivery': { hue: 320, read: row => [row.outcome, { queued: 'good', acked: 'good' }[row.outcome] ?? 'bad', `message ${row.message_seq} to connection ${row.connection_seq} in ${row.latency_us} µs`] },
  'messaging.revocation': { hue: 350, read: row => [row.event, 'bad', `the tokens of ${row.user_id ?? row.jti ?? row.sid ?? 'everybody'}`] },
  'messaging.push': { hue: 35, read: row => [row.event, '', row.data ?? plural(row.size_bytes, 'byte')] },
  'greyhound.gap': { hue: 0, read: row => [row.reason, 'bad', `${row.row_count ?? 'unknown many'} rows of ${row.topic ?? 'any topic'}`] },
}
const other = { hue: 90, read: row => ['row', '', JSON.stringify(row)] }
const hidden = new Set()
let paused = false

for (const [topic, { hue }] of Object.entries(topics)) {
  const chip = element('button', 'topic', topic.split('.')[1])
  chip.style.setProperty('--hue', hue)
  chip.setAttribute('aria-pressed', 'true')
  chip.addEventListener('click', () => {
    const off = !hidden.delete(topic) && hidden.add(topic)
    chip.setAttribute('aria-pressed', String(!off))
    for (const line of $('rows').children) line.hidden = hidden.has(line.dataset.topic)
  })
  $('filters').append(chip)
}

function addRow(row) {
  const { hue, read } = topics[row.topic_name] ?? other
  const [what, mood, details] = read(row)
  const line = element('tr', 'fresh')
  line.dataset.topic = row.topic_name
  line.hidden = hidden.has(row.topic_name)
  const pill = element('span', 'topic', row.topic_name)
  pill.style.setProperty('--hue', hue)
  const topic = element('td')
  topic.append(pill)
  line.append(element('td', 'time', clock(row.time / 1000)), topic, element('td', 'number', row.seq), element('td', `what ${mood}`, what),
    element('td', '', row.user_id ?? ''), element('td', 'details', details))
  $('rows').querySelector('.empty')?.remove()
  $('rows').prepend(line)
  while ($('rows').children.length > 300) $('rows').lastElementChild.remove()
}

$('pause').addEventListener('click', () => {
  paused = !paused
  $('pause').setAttribute('aria-pressed', String(paused))
  $('pause').textContent = paused ? 'Resume' : 'Pause'
})
$('clear').addEventListener('click', () => $('rows').replaceChildren())

const feed = new EventSource('/demo/rows')
feed.onopen = () => show($('feed'), 'live', 'live')
feed.onerror = () => show($('feed'), 'waiting', 'reconnecting')
feed.onmessage = ({ data }) => {
  const { topic, rows, count: all } = JSON.parse(data)
  count('bus', all)
  pulse('activity')
  if (topic === 'messaging.message') count('messaging', all)
  if (!paused) for (const row of rows) addRow({ ...row, topic_name: topic })
}
