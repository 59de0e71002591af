import { describe, expect, it } from 'vitest'
import { loadPolicy, redact } from '../../../src/policy/index.ts'
import { redactedJson } from '../../../src/policy/redact.ts'

const SECRETS = ['hunter2', 'k-12345', 'p@ss', 'tok-1', 'hdr-key']

describe('redact', () => {
  it('hides secrets, api keys, header tables and passwords in URLs, and nothing else', async () => {
    const { document } = await loadPolicy(
      {
        description: 'see redis://me:p@ss@host:6379/0?password=hunter2&db=1',
        senders: { roles: { from: '{header.api-key}', map: { 'hdr-key': ['admin'] } } },
        exempt: [
          { name: 'bypass', when: { all: [{ header: { name: 'x', secret: 'hunter2' } }] } },
          { name: 'token', when: { header: { name: 'X-Auth-Token', in: ['tok-1'] } } },
          { name: 'high', when: { header: { name: 'x-priority', equals: 'high' } } },
          { name: 'keys', apiKeys: ['k-12345', 'hunter2'] },
        ],
        rules: [{ name: 'a', limit: '10/s', cost: 5, shadow: false }],
      },
      { env: {} },
    )
    const before = JSON.stringify(document)
    expect(redact(document)).toEqual({
      description: 'see redis://me:***@host:6379/0?password=***&db=1',
      senders: { roles: { from: '{header.api-key}', map: { '***1': ['admin'] } } },
      exempt: [
        { name: 'bypass', when: { all: [{ header: { name: 'x', secret: '***' } }] } },
        { name: 'token', when: { header: { name: 'X-Auth-Token', in: '***' } } },
        { name: 'high', when: { header: { name: 'x-priority', equals: 'high' } } },
        { name: 'keys', apiKeys: ['***', '***'] },
      ],
      rules: [{ name: 'a', limit: '10/s', cost: 5, shadow: false }],
    })
    expect(JSON.stringify(document)).toBe(before)
    const parts: readonly unknown[] = [document, ...Object.values(document), ...(document.exempt ?? [])]
    for (const part of parts) expect(redactedJson(part)).toBe(JSON.stringify(redact(part)))
  })

  it('hides the password of a store, in the short and in the long form', () => {
    const stores = [
      { store: 'redis://:p@ss@host' },
      { store: { url: 'rediss://me:hunter2@h1,h2/0' } },
      { store: 'nats://host?token=tok-1' },
    ]
    const text = JSON.stringify(redact(stores))
    expect(redactedJson(stores)).toBe(text)
    for (const secret of SECRETS) expect(text).not.toContain(secret)
    expect(text).toContain('h1,h2/0')
  })

  it.each([
    ['redis://me@host:6379/1', 'redis://me@host:6379/1'],
    ['redis://:hunter2@host', 'redis://:***@host'],
    ['redis://me:hunter2@host', 'redis://me:***@host'],
    ['rediss://me:p%40ss@host:6380/2', 'rediss://me:***@host:6380/2'],
    ['redis+sentinel://me:hunter2@h1,h2/mymaster?db=1', 'redis+sentinel://me:***@h1,h2/mymaster?db=1'],
    ['rediss+cluster://me:hunter2@h1:7000,h2:7001', 'rediss+cluster://me:***@h1:7000,h2:7001'],
    ['nats://me:hunter2@host:4222', 'nats://me:***@host:4222'],
    ['nats://hunter2@host', 'nats://***@host'],
    ['nats://hunter2@h1:4222,h2:4222', 'nats://***@h1:4222,h2:4222'],
    ['nats://host?token=hunter2', 'nats://host?token=***'],
    ['https://hunter2@hooks.example/x?auth=tok-1', 'https://***@hooks.example/x?auth=***'],
    ['sqlite:./limits.db', 'sqlite:./limits.db'],
  ])('prints %s as %s', (url, printed) => {
    expect(redact({ store: url })).toEqual({ store: printed })
    expect(redact({ store: { url } })).toEqual({ store: { url: printed } })
  })
})
