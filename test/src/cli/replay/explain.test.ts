import { describe, expect, it } from 'vitest'
import { runCommand } from '../fake-terminal.ts'
import { Folder } from '../folder.ts'

const POLICY = `
version: 1
senders:
  device: "{topic.device}"
  roles: { from: "{user}", map: { root: [admin] } }
exempt:
  - { name: operators, roles: [admin], ips: ["10.0.0.0/8"] }
  - name: nightly
    clients: [batch]
    when: { time: "22:00-06:00", zone: Europe/Berlin }
  - name: bypass
    when: { header: { name: x-bypass, secret: open-sesame } }
  - { name: keys, apiKeys: [k1, k2] }
rules:
  - { name: telemetry, topic: "fleet/{site}/{device}/#", per: [site, device], limit: 10/s burst 20, exceeded: throttle }
  - { name: bytes, topic: "fleet/#", limit: 100/s, cost: bytes, exceeded: drop }
  - { name: trial, per: client, limit: 1/s, shadow: true }
`

async function explain(...args: string[]) {
  using folder = new Folder()
  const file = folder.file('policy.yaml', POLICY)
  return await runCommand([
    'explain',
    file,
    '--topic',
    'fleet/oslo/d1/t',
    '--at',
    '1970-01-02T12:00:00Z',
    ...args,
  ])
}

describe('explain', () => {
  it('says what a broker may hold for the sender', async () => {
    using folder = new Folder()
    const rules = '[{ name: kept, retained: 10MB, per: client }, { name: open, connections: 5 }]'
    const file = folder.file('policy.yaml', `version: 1\nrules: ${rules}\n`)
    const { out } = await runCommand(['explain', file, '--topic', 'a/b', '--client', 'c', '--retain'])
    expect(out).toContain(
      'held by the broker\n  kept: at most 10000000 bytes of retained messages per client, 0 held now',
    )
    expect(out).not.toContain('open')
    const plain = await runCommand(['explain', file, '--topic', 'a/b', '--client', 'c'])
    expect(plain.out).not.toContain('held by the broker')
  })

  it('shows a cost in blocks of topic, payload and overhead', async () => {
    using folder = new Folder()
    const rule = 'name: blocks, limit: 100/min, cost: { bytes: per 4KiB, overhead: 100, min: 2 }'
    const file = folder.file('policy.yaml', `version: 1\nrules:\n  - { ${rule} }\n`)
    const costOf = async (size: string): Promise<string | undefined> => {
      const { out } = await runCommand(['explain', file, '--topic', 'a/b', '--size', size])
      return /costs (\d+) of 100/.exec(out)?.[1]
    }
    expect(await Promise.all(['0', '8089', '8090', '40KiB'].map(costOf))).toEqual(['2', '2', '3', '11'])
  })

  it('tells every step for one message', async () => {
    const { exitCode, out } = await explain(
      '--client',
      'batch',
      '--user',
      'u',
      '--payload',
      '{"v":1}',
      '--qos',
      '1',
    )
    expect(exitCode).toBe(0)
    expect(out).toBe(`fleet/oslo/d1/t  publish, 7 bytes, qos 1, at 1970-01-02T12:00:00.000Z

route
  fleet/{site}/{device}/#  site=oslo  device=d1
  fleet/#
  and rules for every topic
sender
  client batch, user u, device d1
exemptions
  no   operators: none of its lists has it: roles admin; ips 10.0.0.0/8
  no   nightly: does not hold: time 22:00-06:00 Europe/Berlin
  no   bypass: does not hold: header x-bypass = ***
  no   keys: none of its lists has it: apiKeys (2, not shown)
limits
  yes  telemetry: token-bucket per site=oslo, device=d1: costs 1 of 20, 19 left
  yes  bytes: token-bucket for all: costs 7 bytes of 100 bytes, 93 bytes left
  yes  trial: token-bucket per client=batch: costs 1 of 1, 0 left (shadow: only reported)
outcome
  deliver (ok, by rule bytes)
`)
  })

  it('tells what can never pass', async () => {
    const { out } = await explain('--size', '101')
    expect(out).toContain(
      'no   bytes: token-bucket for all: costs 101 bytes of 100 bytes, 100 bytes left, again in never',
    )
    expect(out).toContain('drop (rate_limit_exceeded, by rule bytes), never passes')
  })

  it.each([
    [['--user', 'root'], 'operators'],
    [['--ip', '10.1.2.3'], 'operators'],
    [['--client', 'batch', '--at', '1970-01-02T22:30:00Z'], 'nightly'],
    [['--header', 'x-bypass=open-sesame'], 'bypass'],
    [['--api-key', 'k2'], 'keys'],
  ])('%j is exempt by %s', async (args, exemption) => {
    const { out } = await explain(...args)
    expect(out).toContain(`  yes  ${exemption}: `)
    expect(out).toContain('limits (not asked, as an exemption lets it pass)')
    expect(out).toContain(`deliver (exempt, by exemption ${exemption})`)
  })

  it('never shows a secret', async () => {
    const text = await explain('--header', 'x-bypass=open-sesame', '--api-key', 'k2')
    const json = await explain('--header', 'x-bypass=open-sesame', '--json')
    for (const { out } of [text, json]) expect(out).not.toMatch(/open-sesame|k1/)
    expect(text.out).not.toContain('k2')
  })

  it('gives programs the whole explanation', async () => {
    const { out } = await explain('--json', '--role', 'a', '--role', 'b', '--size', '101')
    expect(JSON.parse(out)).toMatchObject({
      topic: 'fleet/oslo/d1/t',
      sender: { roles: ['a', 'b'], device: 'd1' },
      limits: [
        { rule: 'telemetry', key: '4:oslo2:d1', allowed: true },
        { rule: 'bytes', cost: 101, allowed: false, retryAfterMs: null },
        { rule: 'trial', shadow: true },
      ],
      decision: { allowed: false, outcome: 'drop', rule: 'bytes', retryAfterMs: null },
    })
  })

  it.each([
    [['--qos', '3'], "argument '3' is invalid. Write 0, 1 or 2."],
    [['--at', 'yesterday'], 'Write a moment as 2026-01-31T12:00:00Z'],
    [['--header', 'novalue'], 'Write a header as name=value.'],
    [['--size', 'big'], 'is not a number of bytes'],
    [['--ip', '10.0.0'], 'Write an IP address, as 192.0.2.1 or 2001:db8::1.'],
    [['--payload', '{"units":'], 'It is not JSON: '],
    [
      ['--topic', 'fleet/+/d1'],
      '--topic: "fleet/+/d1" is a pattern; a message of publish has a topic without wildcards',
    ],
    [['--topic', ''], '--topic: "" is not a topic of mqtt'],
    [['--on', 'subscribe', '--topic', 'a/#/b'], '--topic: "a/#/b" is not a filter of mqtt'],
    [['--on', 'send'], 'Allowed choices are publish, subscribe, connect, deliver'],
  ])('%j is wrong usage', async (args, words) => {
    const { exitCode, err } = await explain(...args)
    expect(exitCode).toBe(2)
    expect(err).toContain(words)
  })
})
