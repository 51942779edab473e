// What the documentation tells readers to run is run as it stands, except for the ports: every command, and every snippet in JavaScript,
// Python and Go. Blocks that cannot be run here are marked with the reason.
import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { after, before, describe, test } from 'node:test'
import { program, until } from '../clients/greyhound.mjs'
import { login, record } from '../clients/sockets.mjs'
import { greyhound } from '../cluster/greyhound.mjs'
import { redis } from '../cluster/redis.mjs'
import { blocks, pages, root } from './pages.mjs'

let hound, server
const cleanups = []
before(async () => {
  const all = { after: cleanup => cleanups.unshift(cleanup) }
  server = await redis(all)
  hound = await greyhound(all, server, { namespaces: ['/'] })
})
after(async () => {
  await hound.stop()
  for (const cleanup of cleanups) await cleanup()
})

/** With the ports of these tests in the place of the usual ones. */
const here = code => code.replaceAll('localhost:3000', `localhost:${hound.port}`).replaceAll('localhost:3001', `localhost:${hound.adminPort}`).replaceAll('6379', server.port)

/** Runs a command to its end, in the directory and the environment of the program; fails if it does. */
async function run(command, ...args) {
  const env = { ...hound.env, PATH: `${dirname(program)}:${process.env.PATH}` }
  // `timeout` also ends what the command has started.
  const child = spawn('timeout', ['20', command, ...args], { cwd: hound.home, env, stdio: ['ignore', 'pipe', 'pipe'] })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', text => (output += text))
  const [code, signal] = await new Promise((done, fail) => child.on('error', fail).on('close', (...how) => done(how)))
  assert.equal(code, 0, `${signal ?? `exit status ${code}`}:\n${output}`)
  return output
}

const shell = code => run('bash', '-euo', 'pipefail', '-c', `curl() { command curl --silent --show-error --fail-with-body "$@"; }\n${here(code)}`)

const python = code => run(join(root, `tests/${code.includes('redis') ? 'cluster/' : ''}.venv/bin/python`), '-c', here(code))

/** What a page's snippets find: a client of the newest kind, a token of user 1, Redis, and the emitters by the names that they have on npm. */
const prelude = () => `
  const load = require('node:module').createRequire(${JSON.stringify(join(root, 'tests/package.json'))})
  const names = { 'socket.io-emitter': 'socket.io-emitter-3', '@socket.io/redis-emitter': 'socket.io-emitter-5' }
  globalThis.require = name => load(names[name] ?? name)
  Object.assign(globalThis, { io: load('socket.io-client-4'), jwt: ${JSON.stringify(hound.token('1'))}, redisClient: new (load('ioredis'))(${server.port}) })
`

/** Starts the snippets of a page, one after the other, in a process of their own; it is killed when the test `t` ends. */
function javascript(t, code) {
  const child = spawn('node', ['--input-type=commonjs', '-e', prelude() + here(code)], { cwd: hound.home, stdio: ['ignore', 'pipe', 'pipe'] })
  t.after(() => child.kill('SIGKILL'))
  const running = { output: '' }
  for (const stream of [child.stdout, child.stderr]) stream.setEncoding('utf8').on('data', text => (running.output += text))
  return running
}

describe('commands and snippets', () => {
  for (const page of pages) {
    for (const { language, code, line, reason } of blocks(page)) {
      const name = `${page.path}:${line} (${language})`
      const runner = { sh: shell, python }[language]
      if (runner) test(name, { skip: reason }, () => runner(code))
      else if (language === 'go') test(name, () => assert.equal(code, readFileSync(join(root, 'examples/publish.go'), 'utf8'), 'not the example that is tested'))
    }

    const scripts = blocks(page).filter(({ language, reason }) => language === 'js' && !reason).map(({ code }) => code)
    const is = pattern => scripts.some(code => pattern.test(code))
    if (is(/io\.connect/)) {
      test(`the client of ${page.path}`, async t => {
        const client = javascript(t, scripts.join('\n'))
        await until(`the client to be in\n${client.output}`, () => client.output.includes('in\n'))
        await hound.emit({ rooms: ['user(1)'], event: 'message', args: ['good day'] })
        await until('the message', () => client.output.includes('good day'))
        if (is(/on disk/)) await until('the acknowledgement', () => client.output.includes('on disk'))
      })
    } else if (scripts.length) {
      test(`the emitters of ${page.path}`, async t => {
        const socket = await login(t, hound, '1')
        record(socket, 'message')
        const emitters = javascript(t, scripts.join('\n'))
        await until(`a message of each\n${emitters.output}`, () => socket.seen.length >= scripts.length)
      })
    }
  }
})
