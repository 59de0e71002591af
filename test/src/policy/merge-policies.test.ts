import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { PolicyError, type Problem } from '../../../src/core/errors.ts'
import { loadPolicy } from '../../../src/policy/index.ts'

const BASE = `version: 1
senders:
  device: "{client}"
  roles: { from: "{user}", map: { operator: [admin], guest: [reader] } }
exempt:
  - name: operators
    roles: [admin]
  - topics: ["$SYS/#"]
rules:
  - name: telemetry
    topic: fleet/{site}/#
    per: site
    limit: 10/s burst 20
    exceeded: { throttle: { upTo: 10s } }
  - name: daily
    per: device
    quota: 1000/day
    zone: UTC
`

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'topicgate-overlay-'))
  writeFileSync(join(folder, 'base.yaml'), BASE)
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

function over(text: string): string[] {
  writeFileSync(join(folder, 'over.yaml'), text)
  return [join(folder, 'base.yaml'), join(folder, 'over.yaml')]
}

async function problemsOf(files: string[]): Promise<readonly Problem[]> {
  const result = await loadPolicy(files, { env: {} }).catch((error: unknown) => error)
  if (result instanceof PolicyError) return result.problems
  throw new Error('not refused')
}

describe('an overlay', () => {
  it('replaces fields of rules and exemptions of the same name, and adds new ones behind', async () => {
    const { document, files } = await loadPolicy(
      over(`exempt:
  - name: operators
    ips: [10.0.0.0/8]
  - topics: [health]
rules:
  - name: new
    limit: 1/s
  - name: telemetry
    limit: 50/s
    exceeded: drop
`),
    )
    expect(files).toEqual([join(folder, 'base.yaml'), join(folder, 'over.yaml')])
    expect(document.exempt).toEqual([
      { name: 'operators', roles: ['admin'], ips: ['10.0.0.0/8'] },
      { topics: ['$SYS/#'] },
      { topics: ['health'] },
    ])
    expect(document.rules).toEqual([
      { name: 'telemetry', topic: 'fleet/{site}/#', per: 'site', limit: '50/s', exceeded: 'drop' },
      { name: 'daily', per: 'device', quota: '1000/day', zone: 'UTC' },
      { name: 'new', limit: '1/s' },
    ])
  })

  it('merges maps deeply', async () => {
    const { document } = await loadPolicy(
      over('senders: { user: "{ip}", roles: { map: { guest: [], root: [admin] } } }\n'),
    )
    expect(document.senders).toEqual({
      device: '{client}',
      user: '{ip}',
      roles: { from: '{user}', map: { operator: ['admin'], guest: [], root: ['admin'] } },
    })
  })

  it('turns a quota into a limit and back', async () => {
    const { document } = await loadPolicy(
      over('rules:\n  - { name: daily, limit: 5/s }\n  - { name: telemetry, quota: 10/day }\n'),
    )
    expect(document.rules).toMatchObject([{ quota: '10/day' }, { limit: '5/s', per: 'device' }])
    expect(document.rules?.[0]).not.toHaveProperty('limit')
    expect(document.rules?.[1]).not.toHaveProperty('zone')
  })

  it('is blamed for its own faults in its own lines, and the base for the ones of the base', async () => {
    expect(await problemsOf(over('rules:\n  - name: telemetry\n    per: room\n'))).toMatchObject([
      { file: join(folder, 'over.yaml'), line: 3, column: 10, path: 'rules[0].per' },
    ])
    // The overlay takes away the capture that the base counts by.
    expect(await problemsOf(over('rules:\n  - name: telemetry\n    topic: fleet/#\n'))).toMatchObject([
      { file: join(folder, 'base.yaml'), line: 12, column: 10, path: 'rules[0].per' },
    ])
  })

  it('may not name two entries alike, nor be left out where it cannot be read', async () => {
    const twice = 'rules:\n  - { name: daily, limit: 5/s }\n  - { name: daily, limit: 6/s }\n'
    expect(await problemsOf(over(twice))).toMatchObject([
      {
        file: join(folder, 'over.yaml'),
        line: 3,
        message: 'the name "daily" is used twice, first in line 2',
      },
    ])
    expect(await problemsOf(over('rules: ['))).toMatchObject([{ file: join(folder, 'over.yaml'), line: 1 }])
  })

  it('may be an object over a file, and need not say anything', async () => {
    const files = over('version: 1\n')
    const { document } = await loadPolicy([...files, {}, { rules: [{ name: 'daily', enabled: false }] }])
    expect(document.rules?.[1]).toMatchObject({ name: 'daily', quota: '1000/day', enabled: false })
  })
})
