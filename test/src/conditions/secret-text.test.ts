import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { isSecretHeader, SecretText } from '../../../src/conditions/secret-text.ts'

describe('a secret text', () => {
  it('equals only itself', () => {
    const units = fc.array(fc.nat(0xffff), { maxLength: 40 })
    const text = units.map(codes => String.fromCharCode(...codes))
    fc.assert(
      fc.property(text, text, (secret, other) => {
        expect(new SecretText(secret).equals(secret)).toBe(true)
        expect(new SecretText(secret).equals(other)).toBe(other === secret)
      }),
      { seed: 7, numRuns: 500 },
    )
  })

  it('differs from every text that shares a part with it', () => {
    fc.assert(
      fc.property(fc.string({ minLength: 1, maxLength: 70 }), fc.nat(), (secret, at) => {
        const place = at % secret.length
        const changed = secret.slice(0, place) + String.fromCharCode(secret.charCodeAt(place) ^ 1)
        const compared = new SecretText(secret)
        for (const other of [
          changed + secret.slice(place + 1),
          secret.slice(0, place),
          secret + secret.slice(0, place + 1),
          `${secret}\0`,
          `${secret}${'\0'.repeat(128)}`,
        ])
          expect(compared.equals(other)).toBe(false)
      }),
      { seed: 8, numRuns: 500 },
    )
  })

  it('reads every character of a value, wherever the first difference is', () => {
    const secret = new SecretText('a long random text')
    for (const value of ['a long random text', 'b long random text', 'a long random tex_', 'short', '']) {
      expect(countReads(value, text => secret.equals(text))).toBe(value.length)
    }
  })
})

/** Counts the calls of `charCodeAt` on a value. */
function countReads(value: string, compare: (text: string) => boolean): number {
  let reads = 0
  const counted = {
    length: value.length,
    charCodeAt: (index: number) => {
      reads++
      return value.charCodeAt(index)
    },
  }
  compare(counted as string)
  return reads
}

describe('the name of a header', () => {
  it.each([
    'Authorization',
    'x-auth-token',
    'X-API-Key',
    'apikey',
    'access_key',
    'key',
    'x-key',
    'cookie',
    'x-bypass',
    'client-secret',
    'password',
    'x-hub-signature',
  ])('suggests a secret: %s', name => {
    expect(isSecretHeader(name)).toBe(true)
  })

  it.each(['x-priority', 'partition-key', 'x-author', 'keyboard', 'tier', 'Nats-Msg-Id'])(
    'suggests no secret: %s',
    name => {
      expect(isSecretHeader(name)).toBe(false)
    },
  )
})
