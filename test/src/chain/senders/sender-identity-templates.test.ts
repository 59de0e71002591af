import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  compileIdentity,
  type SenderIdentityTemplates,
  type SenderResolver,
} from '../../../../src/chain/senders/sender-identity-templates.ts'
import { PolicyError } from '../../../../src/core/errors.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import type { Message, MessageHeaders, Sender } from '../../../../src/core/message.ts'

const NONE: ReadonlyMap<string, string> = new Map()

function identity(spec: SenderIdentityTemplates): SenderResolver {
  const compiled = compileIdentity(spec)
  if (!compiled) throw new Error('nothing was compiled')
  return compiled
}

function message(sender: Sender, headers?: MessageHeaders): Message {
  return { topic: 't', on: 'publish', size: 0, sender, ...(headers ? { headers } : {}) }
}

function refusal(spec: SenderIdentityTemplates): string {
  try {
    compileIdentity(spec)
  } catch (error) {
    if (error instanceof PolicyError) return error.message
  }
  throw new Error('nothing was refused')
}

describe('compileIdentity', () => {
  it('is undefined for a policy without senders', () => {
    expect(compileIdentity(undefined)).toBeUndefined()
    expect(compileIdentity({})).toBeUndefined()
  })

  it('fills templates from what the broker knows, from headers and from captures', () => {
    const spec = {
      client: '{ip}',
      user: '{client}',
      device: '{topic.device}',
      apiKey: '{header.key}',
      tier: '{user}-{ip}',
    }
    const sender = { client: 'c', user: 'u', ip: '10.0.0.1' }
    const resolved = identity(spec).resolve(
      message(sender, { key: ['k1', 'k2'] }),
      new Map([['device', 'd1']]),
    )
    expect(resolved).toEqual({
      client: '10.0.0.1',
      user: 'c',
      device: 'd1',
      apiKey: 'k1',
      tier: 'u-10.0.0.1',
      ip: '10.0.0.1',
    })
  })

  it('keeps what the broker knows if a placeholder is empty', () => {
    const sender = { client: 'c', device: 'known' }
    const { resolve } = identity({
      device: 'x-{topic.device}',
      user: '{header.user}',
      roles: '{header.role}',
    })
    expect(resolve(message(sender, { user: '' }), new Map([['device', '']]))).toBe(sender)
    expect(resolve(message(sender), NONE)).toBe(sender)
  })

  it('uses the roles that a table has for a value, and ignores other values', () => {
    const map = { operator: ['admin', 'reader'], guest: [] }
    const { resolve } = identity({ roles: { from: '{user}', map } })
    expect(resolve(message({ user: 'operator', roles: ['x'] }), NONE).roles).toEqual(['admin', 'reader'])
    expect(resolve(message({ user: 'guest', roles: ['x'] }), NONE).roles).toEqual(['x'])
    for (const user of ['toString', '__proto__', 'constructor']) {
      expect(resolve(message({ user }), NONE).roles).toBeUndefined()
    }
  })

  it('makes one role of a text with a comma, and one of each value of a header', () => {
    expect(identity({ roles: '{user}' }).resolve(message({ user: 'a,admin' }), NONE).roles).toEqual([
      'a,admin',
    ])
    const many = Array.from({ length: 16 }, (_, index) => `r${index % 12}`)
    const { roles } = identity({ roles: '{header.role}' }).resolve(message({}, { role: many }), NONE)
    expect(roles).toEqual(many.slice(0, 12))
    const wide = { from: '{user}', map: { u: Array.from({ length: 100 }, (_, index) => `r${index}`) } }
    expect(identity({ roles: wide }).resolve(message({ user: 'u' }), NONE).roles).toHaveLength(
      MAX_SIZES.rolesPerSender,
    )
  })

  it('hashes texts longer than a key part, and keeps them distinct', () => {
    const { resolve } = identity({ device: '{topic.d}' })
    const of = (text: string): string | undefined => resolve(message({}), new Map([['d', text]])).device
    const long = 'x'.repeat(MAX_SIZES.keyPartChars)
    expect(of(long)).toBe(long)
    expect(of(`${long}a`)).toMatch(/^sha256:.{43}$/)
    expect(of(`${long}a`)).not.toBe(of(`${long}b`))
  })

  it('knows if it reads headers', () => {
    expect(identity({ device: '{topic.d}' }).usesHeaders).toBe(false)
    expect(identity({ device: 'a{header.d}' }).usesHeaders).toBe(true)
    expect(identity({ roles: { from: '{header.d}', map: {} } }).usesHeaders).toBe(true)
  })

  it('reads own properties only and never throws', () => {
    const all = identity({
      client: '{user}',
      apiKey: '{header.k}',
      device: '{topic.d}',
      roles: '{header.roles}',
    })
    const inherited: Sender = Object.create({ user: 'evil' })
    expect(all.resolve(message(inherited), NONE)).toBe(inherited)
    const trap = new Proxy(
      {},
      {
        getOwnPropertyDescriptor: () => {
          throw new Error('trap')
        },
      },
    )
    const getter = {
      get user(): string {
        throw new Error('trap')
      },
    }
    const hostile: unknown[] = [
      trap,
      getter,
      { user: 5 },
      { user: {} },
      { user: ['a'] },
      null,
      undefined,
      'text',
    ]
    for (const sender of hostile) {
      expect(all.resolve(message(sender as Sender), NONE)).toBe(sender)
      expect(() => all.resolve(message({}, sender as MessageHeaders), NONE)).not.toThrow()
    }
    fc.assert(
      fc.property(fc.anything(), fc.anything(), fc.string(), (sender, headers, capture) => {
        all.resolve(message(sender as Sender, headers as MessageHeaders), new Map([['d', capture]]))
      }),
      { seed: 99, numRuns: 300 },
    )
  })

  it('does not change the given sender', () => {
    const sender = Object.freeze({ client: 'c' })
    expect(identity({ user: '{client}' }).resolve(message(sender), NONE)).toEqual({ client: 'c', user: 'c' })
    expect(sender).toEqual({ client: 'c' })
  })

  it('refuses invalid templates, all at once', () => {
    const form = '(use {client}, {user}, {ip}, {header.NAME} or {topic.CAPTURE}, and text between them)'
    expect(
      refusal({ client: '{clint}', user: 'root', device: '{topic.}', tier: '{ip', roles: '}' }).split('\n'),
    ).toEqual([
      `client: "{clint}" is not a placeholder ${form}`,
      `user: "root" is the same for every sender ${form}`,
      `device: "{topic.}" is not a placeholder ${form}`,
      `tier: "{ip" has a brace outside a {name} ${form}`,
      `roles: "}" has a brace outside a {name} ${form}`,
    ])
  })
})

describe('the key of headers', () => {
  const spec = { apiKey: '{header.key}', user: '{client}-{header.user}', roles: '{header.role}' }
  const text = fc.string({ maxLength: 3, unit: fc.constantFrom('a', '\n', '1', ':', '[') })
  const value = fc.oneof(text, fc.array(text, { maxLength: 3 }))
  const headers = fc.record({ key: value, user: value, role: value }, { requiredKeys: [] })

  it.each(['key', 'user', 'role', 'all'])('is equal for messages of the same identity only: %s', part => {
    const resolver = identity(
      part === 'all' ? spec : part === 'role' ? { roles: spec.roles } : { apiKey: `{header.${part}}` },
    )
    fc.assert(
      fc.property(headers, headers, (one, other) => {
        const [first, second] = [one, other].map(each => message({ client: 'c' }, each))
        if (resolver.headerKeyOf(first!) !== resolver.headerKeyOf(second!)) return
        expect(resolver.resolve(first!, NONE)).toEqual(resolver.resolve(second!, NONE))
      }),
      { numRuns: 2_000, seed: 3 },
    )
  })

  it('does not exist for headers that are too long to be cached', () => {
    const resolver = identity({ apiKey: '{header.key}' })
    const long = 'k'.repeat(MAX_SIZES.senderStateChars + 1)
    expect(resolver.headerKeyOf(message({}, { key: long }))).toBeUndefined()
    expect(resolver.headerKeyOf(message({}, { key: [long, 'k'] }))).toBeUndefined()
    expect(resolver.headerKeyOf(message({}, { key: long.slice(1) }))).toBeDefined()
  })
})
