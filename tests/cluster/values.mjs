// Whatever a message may carry.
import assert from 'node:assert/strict'
import { inspect, isDeepStrictEqual } from 'node:util'

const integers = [0, 127, 128, 255, 256, 65535, 65536, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, 2 ** 53, 2 ** 63]
const negative = [-1, -32, -33, -128, -129, -32768, -32769, -(2 ** 31), -(2 ** 31) - 1, -(2 ** 32), -(2 ** 53 - 1), -(2 ** 63)]
const fractions = [1.5, -0, 0.1, 1e21, -1e21, 1e300, 5e-324, NaN, Infinity, -Infinity]
export const lengths = [0, 1, 31, 32, 255, 256, 65535, 65536]

/** What may be published, by name. */
export const values = {
  null: null, true: true, false: false,
  ...Object.fromEntries([...integers, ...negative, ...fractions].map(number => [`number ${number}`, number])),
  ...Object.fromEntries(lengths.map(length => [`text of ${length}`, 'x'.repeat(length)])),
  unicode: 'žluťoučký 🐎 \u2028 \u0000 "\\', 'long unicode': 'ž🐎'.repeat(100), 'half a surrogate pair': '\ud800',
  nested: { a: { b: [1, { c: null, d: [] }], e: {} }, ž: 'é' },
  ...Object.fromEntries([15, 16, 66_000].map(length => [`array of ${length}`, Array(length).fill(1)])),
  ...Object.fromEntries([15, 16, 66_000].map(size => [`map of ${size}`, Object.fromEntries(Array.from({ length: size }, (_, n) => [`k${n}`, n]))])),
  'keys that are numbers': { 1: 'a', 2: 'b' },
  undefined: undefined, 'undefined in a map': { a: undefined, b: 1 }, 'undefined in an array': [undefined, 1],
  Buffer: Buffer.from([0, 1, 0xd8, 0xff]), 'Buffer, empty': Buffer.alloc(0), 'Buffer of 300': Buffer.alloc(300, 7),
  'Buffer of 70000': Buffer.alloc(70_000, 7), 'Buffers, deep': { a: [Buffer.from([1]), { b: Buffer.from([2]) }] },
  'typed array': new Uint8Array([1, 2, 3]), 'ArrayBuffer': new Uint8Array([1, 2, 3]).buffer,
  ...Object.fromEntries(['1970-01-01T00:00:00.000Z', '2026-11-25T09:14:03.123Z', '1969-12-31T23:59:59.999Z', '2500-01-01T00:00:00.123Z', '9999-12-31T23:59:59.999Z']
    .map(text => [`date ${text}`, new Date(text)])),
  'date, deep': { a: [new Date(5)] },
}

/** What a client should see of a value: what JSON makes of it, and bytes as they are. */
export function sensible(value) {
  if (value === undefined) return null
  if (value instanceof ArrayBuffer || ArrayBuffer.isView(value)) return Buffer.from(value)
  if (Array.isArray(value)) return value.map(sensible)
  if (value === null || typeof value !== 'object' || value instanceof Date) return JSON.parse(JSON.stringify(value).replace('\\ud800', '\ufffd'))
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, one === undefined ? undefined : sensible(one)]).filter(([, one]) => one !== undefined))
}

/** What is left of a value when msgpack-js has written it: typed arrays are maps to it, and an ArrayBuffer is an empty one. */
export function asMsgpackJs(value) {
  if (value instanceof ArrayBuffer) return {}
  if (value instanceof Uint8Array && !Buffer.isBuffer(value)) return { ...value }
  return sensible(value)
}

/** Two lists of messages, [event, name, value], are the same; says in a few lines where they are not. */
export function assertSame(seen, wanted) {
  const short = message => message && inspect(message, { depth: 4, breakLength: Infinity, maxArrayLength: 6, maxStringLength: 40 }).slice(0, 200)
  const differ = Array.from({ length: Math.max(seen.length, wanted.length) }, (_, n) => n).filter(n => !isDeepStrictEqual(seen[n], wanted[n]))
  assert.deepEqual(differ.map(n => short(seen[n])), differ.map(n => short(wanted[n])))
  assert.ok(differ.length === 0)
}
