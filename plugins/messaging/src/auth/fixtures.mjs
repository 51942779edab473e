// Writes fixtures.json: public keys of each kind, tokens that they verify, and what Node's jsonwebtoken says of tokens.
//
//     npm install --no-save --prefix /tmp/fixtures jsonwebtoken@9.0.2
//     NODE_MODULES=/tmp/fixtures/node_modules node plugins/messaging/src/auth/fixtures.mjs
import { constants, createHmac, createPublicKey, generateKeyPairSync, sign } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'

const { verify } = createRequire(join(process.env.NODE_MODULES, 'x'))('jsonwebtoken')
const secret = 'a secret of the fixtures, long enough for HS512, which has a hash of 64 bytes'

const part = value => Buffer.from(typeof value === 'string' ? value : JSON.stringify(value)).toString('base64url')
const hash = algorithm => `sha${algorithm.slice(2)}`
const hs = (algorithm, key = secret) => text => createHmac(hash(algorithm), key).update(text).digest()
const signer = (algorithm, key) => {
  if (algorithm === 'EdDSA') return text => sign(null, text, key)
  if (algorithm.startsWith('ES')) return text => sign(hash(algorithm), text, { key, dsaEncoding: 'ieee-p1363' })
  const padding = algorithm.startsWith('PS') ? constants.RSA_PKCS1_PSS_PADDING : constants.RSA_PKCS1_PADDING
  return text => sign(hash(algorithm), text, { key, padding, saltLength: constants.RSA_PSS_SALTLEN_DIGEST })
}
/** A token with these header and claims (texts are taken as they are), signed by `by`. */
function token(header, claims, by) {
  const text = `${part(header)}.${part(claims)}`
  return `${text}.${by(Buffer.from(text)).toString('base64url')}`
}

const kinds = {
  rsa: [() => generateKeyPairSync('rsa', { modulusLength: 2048 }), ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512']],
  p256: [() => generateKeyPairSync('ec', { namedCurve: 'P-256' }), ['ES256']],
  p384: [() => generateKeyPairSync('ec', { namedCurve: 'P-384' }), ['ES384']],
  ed25519: [() => generateKeyPairSync('ed25519'), ['EdDSA']],
}
const privateKeys = {}
const keys = Object.fromEntries(Object.entries(kinds).map(([kind, [make, algorithms]]) => {
  const { publicKey, privateKey } = make()
  privateKeys[kind] = privateKey
  const tokens = algorithms.map(alg => [alg, token({ alg, typ: 'JWT', kid: kind }, { id: 1 }, signer(alg, privateKey))])
  return [kind, {
    pem: publicKey.export({ type: 'spki', format: 'pem' }), jwk: publicKey.export({ format: 'jwk' }),
    tokens: Object.fromEntries(tokens),
  }]
}))
const other = modulusLength => generateKeyPairSync('rsa', { modulusLength })
const unusable = {
  '1024 bits': other(1024).publicKey.export({ type: 'spki', format: 'pem' }),
  '5120 bits': other(5120).publicKey.export({ type: 'spki', format: 'pem' }),
  'its curve is not supported': generateKeyPairSync('ec', { namedCurve: 'secp256k1' }).publicKey.export({ type: 'spki', format: 'pem' }),
  'its kind is not supported': generateKeyPairSync('ed448').publicKey.export({ type: 'spki', format: 'pem' }),
}

const header = { alg: 'HS256', typ: 'JWT' }
const simple = (claims, options = {}) => [token(header, claims, hs('HS256')), options]
const past = 1_000_000_000, future = 40_000_000_000
const foreign = generateKeyPairSync('rsa', { modulusLength: 2048 })
const jwk = { ...foreign.publicKey.export({ format: 'jwk' }), kid: 'x' }
const pem = keys.rsa.pem
const shorten = text => text.slice(0, text.lastIndexOf('.') + 1)
const swap = (text, claims) => text.split('.').map((it, at) => (at === 1 ? part(claims) : it)).join('.')

const cases = {
  'HS256': simple({ id: 1 }),
  'HS384': [token({ alg: 'HS384' }, { id: 1 }, hs('HS384')), {}],
  'HS512': [token({ alg: 'HS512' }, { id: 1 }, hs('HS512')), {}],
  'another secret': [token(header, { id: 1 }, hs('HS256', 'other')), {}],
  'changed claims': [swap(simple({ id: 1 })[0], { id: 2 }), {}],
  'an algorithm that is not accepted': simple({ id: 1 }, { algorithms: ['HS512'] }),
  'one part': ['hello', {}],
  'two parts': ['a.b', {}],
  'four parts': [`${simple({ id: 1 })[0]}.x`, {}],
  'empty': ['', {}],
  'no signature': [shorten(simple({ id: 1 })[0]), {}],
  'alg none': [`${part({ alg: 'none' })}.${part({ id: 1 })}.`, {}],
  'alg none with a signature': [token({ alg: 'none' }, { id: 1 }, hs('HS256')), {}],
  'alg nOnE with a signature': [token({ alg: 'nOnE' }, { id: 1 }, hs('HS256')), {}],
  'no alg': [token({ typ: 'JWT' }, { id: 1 }, hs('HS256')), {}],
  'padding': [`${simple({ id: 1 })[0]}=`, {}],
  'other letters': [`${simple({ id: 1 })[0]}+/`, {}],
  'a short signature': [simple({ id: 1 })[0].slice(0, -4), {}],
  'not JSON': [token('hello', 'hello', hs('HS256')), {}],
  'claims that are not JSON': [token(header, 'hello', hs('HS256')), {}],
  'expired': simple({ id: 1, exp: past }),
  'not active': simple({ id: 1, nbf: future }),
  'not active and expired': simple({ id: 1, nbf: future, exp: past }),
  'in time': simple({ id: 1, nbf: past, exp: future }),
  'a fraction of time': simple({ id: 1, nbf: past + 0.5, exp: future + 0.5 }),
  'exp is a text': simple({ id: 1, exp: `${future}` }),
  'exp is null': simple({ id: 1, exp: null }),
  'nbf is a text': simple({ id: 1, nbf: `${past}` }),
  'exp is negative': simple({ id: 1, exp: -1 }),
  'expired and another secret': [token(header, { id: 1, exp: past }, hs('HS256', 'other')), {}],
  'the audience': simple({ id: 1, aud: 'a' }, { audience: ['a'] }),
  'one of the audiences': simple({ id: 1, aud: ['x', 'b'] }, { audience: ['a', 'b'] }),
  'another audience': simple({ id: 1, aud: 'x' }, { audience: ['a', 'b'] }),
  'no audience': simple({ id: 1 }, { audience: ['a'] }),
  'other audiences': simple({ id: 1, aud: ['x', 'y'] }, { audience: ['a'] }),
  'an audience that is a number': simple({ id: 1, aud: 1 }, { audience: ['1'] }),
  'an audience that nobody asked for': simple({ id: 1, aud: 'x' }),
  'expired, for another audience': simple({ id: 1, aud: 'x', exp: past }, { audience: ['a'] }),
  'the issuer': simple({ id: 1, iss: 'https://i.example' }, { issuer: 'https://i.example' }),
  'another issuer': simple({ id: 1, iss: 'https://x.example' }, { issuer: 'https://i.example' }),
  'no issuer': simple({ id: 1 }, { issuer: 'https://i.example' }),
  'several issuers': simple({ id: 1, iss: ['https://i.example'] }, { issuer: 'https://i.example' }),
  'another issuer and another audience': simple({ id: 1, iss: 'x', aud: 'x' }, { issuer: 'https://i.example', audience: ['a'] }),
  'another issuer and another secret': [token(header, { id: 1, iss: 'x' }, hs('HS256', 'other')), { issuer: 'https://i.example' }],
  'the public key as a secret': [token(header, { id: 1 }, hs('HS256', pem)), { pem }],
  'the public key as a secret, trimmed': [token(header, { id: 1 }, hs('HS256', pem.trim())), { pem }],
  'a key in the header (jwk)': [token({ alg: 'RS256', jwk }, { id: 1 }, signer('RS256', foreign.privateKey)), { pem }],
  'a genuine token with a key in the header': [token({ alg: 'RS256', jwk }, { id: 1 }, signer('RS256', privateKeys.rsa)), { pem }],
  'a key at a URL (jku)': [token({ alg: 'RS256', jku: 'http://127.0.0.1:1/jwks' }, { id: 1 }, signer('RS256', foreign.privateKey)), { pem }],
  'a certificate at a URL (x5u)': [token({ alg: 'RS256', x5u: 'http://127.0.0.1:1/x' }, { id: 1 }, signer('RS256', foreign.privateKey)), { pem }],
  'a certificate in the header (x5c)': [token({ alg: 'RS256', x5c: ['MIIB'] }, { id: 1 }, signer('RS256', foreign.privateKey)), { pem }],
  'RS256 by a P-256 key': [keys.p256.tokens.ES256, { pem }],
  'crit': [token({ alg: 'HS256', crit: ['exp'] }, { id: 1 }, hs('HS256')), {}],
  'crit with b64': [token({ alg: 'HS256', b64: false, crit: ['b64'] }, { id: 1 }, hs('HS256')), {}],
  ...Object.fromEntries(Object.values(keys).flatMap(key => Object.entries(key.tokens).map(([alg, it]) => [alg, [it, { pem: key.pem }]]))),
}

const verdicts = Object.entries(cases).map(([name, [text, { pem, ...options }]]) => {
  let node = 'accepted'
  try {
    verify(text, pem ? createPublicKey(pem) : secret, options)
  } catch (error) {
    node = error.message
  }
  return { name, token: text, pem, ...options, node }
})
writeFileSync(new URL('fixtures.json', import.meta.url), `${JSON.stringify({ secret, keys, unusable, verdicts }, null, 1)}\n`)
