// The plugin of examples/echo.rs, as a program of its own with the plugins that come with Greyhound.
import assert from 'node:assert/strict'
import { resolve } from 'node:path'
import { test } from 'node:test'
import { prepare } from './greyhound.mjs'
import { login, next, push } from './sockets.mjs'

const program = resolve(import.meta.dirname, '../../target/release/examples/echo')

test('what a device pushes comes back to every device of its user', async t => {
  const greyhound = await prepare(t, { program })
  await greyhound.start()
  const [phone, laptop] = [await login(t, greyhound, 'ann'), await login(t, greyhound, 'ann')]
  const stranger = await login(t, greyhound, 'bob')
  stranger.on('hello', () => assert.fail('it is not for bob'))
  const heard = [phone, laptop].map(device => next(device, 'hello'))
  await push(phone, 'hello', { n: 1 }, 'two')
  assert.deepEqual(await Promise.all(heard), [[{ n: 1 }, 'two'], [{ n: 1 }, 'two']])
  const message = await greyhound.row('messaging.message', { event: 'hello' })
  assert.deepEqual([message.rooms, message.source, message.recipients], [['user(ann)'], 'plugin', 2])
  await greyhound.stop()
})

test('it goes on where it was when it is started again', async t => {
  const greyhound = await prepare(t, { program })
  await greyhound.start()
  const before = await login(t, greyhound, 'ann')
  await push(before, 'hello', 1)
  await greyhound.row('messaging.message', { event: 'hello' })
  await greyhound.stop()
  await greyhound.start()
  const after = await login(t, greyhound, 'ann')
  const heard = next(after, 'hello')
  await push(after, 'hello', 2)
  assert.deepEqual(await heard, [2])
  await greyhound.stop()
})
