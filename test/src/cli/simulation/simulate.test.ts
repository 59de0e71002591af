import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import type { GroupCount } from '../../../../src/cli/simulation/group-counts.ts'
import { READY_FLEETS } from '../../../../src/cli/simulation/ready-fleets.ts'
import { packageFile } from '../../../../src/core/package-files.ts'
import { runCommand } from '../fake-terminal.ts'
import { Folder } from '../folder.ts'

const FLEET = `
for: 1m
fleet:
  - { name: quiet, count: 3, topic: "fleet/{client}/t", send: { every: 2s, jitter: 50% }, expect: { delivered: 100% } }
  - { name: loud, topic: "fleet/{client}/{topic}", topics: 3, send: { flood: 100/s }, from: 30s, until: 40s }
`

const POLICY = `
version: 1
rules: [{ name: all, topic: "fleet/#", per: client, limit: 1/s burst 5, exceeded: drop }]
`

function json(out: string): Readonly<Record<string, unknown>> {
  return JSON.parse(out) as Readonly<Record<string, unknown>>
}

describe('simulate', () => {
  it('writes the same bytes for the same seed, and others for another', async () => {
    using folder = new Folder()
    const fleet = folder.file('fleet.yaml', FLEET)
    const first = await runCommand(['simulate', fleet, '--capture', '-'])
    const again = await runCommand(['simulate', fleet, '--capture', '-', '--seed', '1'])
    const other = await runCommand(['simulate', fleet, '--capture', '-', '--seed', '2'])
    expect(first.exitCode).toBe(0)
    expect(first.out).toBe(again.out)
    expect(first.out).not.toBe(other.out)
    const lines = first.out
      .trimEnd()
      .split('\n')
      .map(line => json(line))
    const times = lines.map(({ at }) => Number(at))
    expect(times).toEqual(times.toSorted((a, b) => a - b))
    expect(lines.filter(({ on }) => on === 'connect')).toHaveLength(4)
    expect(lines.filter(({ client }) => client === 'loud-1')).toHaveLength(1_001)
    expect(new Set(lines.filter(({ client }) => client === 'loud-1').map(({ topic }) => topic))).toEqual(
      new Set(['connect', 'fleet/loud-1/1', 'fleet/loud-1/2', 'fleet/loud-1/3']),
    )
  })

  it('decides as replay decides its capture', async () => {
    using folder = new Folder()
    const fleet = folder.file('fleet.yaml', FLEET)
    const policy = folder.file('policy.yaml', POLICY)
    const capture = join(folder.path, 'c.jsonl')
    const simulated = await runCommand(['simulate', fleet, '--policy', policy, '--capture', capture])
    const replayed = await runCommand(['replay', policy, capture])
    expect(simulated.exitCode).toBe(0)
    expect(simulated.out).toContain(replayed.out.trimEnd())
    expect(simulated.out).toMatch(/^loud +1 +1 +1,000 +14 +986 {2}98\.6 %$/m)
  })

  it('compresses a capture whose name ends with .gz', async () => {
    using folder = new Folder()
    const fleet = folder.file('fleet.yaml', FLEET)
    const capture = join(folder.path, 'c.jsonl.gz')
    await runCommand(['simulate', fleet, '--capture', capture])
    const { out } = await runCommand(['simulate', fleet, '--capture', '-'])
    expect(gunzipSync(readFileSync(capture)).toString()).toBe(out)
  })

  it('fails if a group is not delivered as expected', async () => {
    using folder = new Folder()
    const fleet = folder.file(
      'fleet.yaml',
      FLEET.replace('send: { every: 2s, jitter: 50% }', 'send: { every: 100ms }'),
    )
    const policy = folder.file('policy.yaml', POLICY)
    const { exitCode, err, out } = await runCommand(['simulate', fleet, '--policy', policy, '--json'])
    expect(exitCode).toBe(1)
    expect(err).toMatch(/^failed: group quiet: expected 100% delivered, seen 192 of 1,800 \(\d+\.\d\d %\)\n$/)
    expect(json(out).failed).toEqual([{ group: 'quiet', expected: '100%' }])
  })

  it('takes devices offline that a policy disconnects, or whose connect it refuses', async () => {
    using folder = new Folder()
    const send = 'qos: 1, topic: "fleet/{client}/t", send: { every: 100ms }'
    const fleet = folder.file(
      'fleet.yaml',
      `
for: 10s
fleet:
  - { name: obedient, ${send} }
  - { name: stubborn, ${send}, ignores: [disconnect] }
  - { name: returning, ${send}, faults: [{ at: 5s, disconnect: 1s, then: forget }] }
  - { name: resending, ${send}, ignores: [puback, disconnect] }
  - { name: refused, ${send} }
`,
    )
    const policy = folder.file(
      'policy.yaml',
      `
version: 1
rules:
  - { name: all, topic: "fleet/#", per: client, limit: 1/h burst 20, exceeded: disconnect }
  - { name: connects, on: connect, per: client, limit: 1/h burst 30, exceeded: reject }
  - { name: refused, on: connect, per: client, limit: 1/day, cost: 2, exceeded: drop, for: { clients: [refused-1] } }
`,
    )
    const capture = join(folder.path, 'c.jsonl')
    const { out } = await runCommand(['simulate', fleet, '--policy', policy, '--capture', capture, '--json'])
    const lines = readFileSync(capture, 'utf8')
      .trimEnd()
      .split('\n')
      .map(line => json(line))
    const sentBy = (client: string): number =>
      lines.filter(line => line.client === client && line.on !== 'connect').length
    const groups = json(out).groups as readonly GroupCount[]
    const summary = groups.map(({ name, connects, messages, delivered }) => [
      ...[name, connects, messages, delivered],
      sentBy(`${name}-1`),
    ])
    expect(summary).toEqual([
      // The message that is refused ends the connection.
      ['obedient', 1, 100, 20, 21],
      // A connect after 100 ms, and its message; after 30 connects, no connect is accepted.
      ['stubborn', 80, 100, 20, 50],
      ['returning', 2, 90, 20, 22],
      // The first message that it sends again ends the connection.
      ['resending', 80, 129, 20, 50],
      ['refused', 1, 100, 0, 0],
    ])
  })

  it('reports a fleet that is not there, with those that are', async () => {
    const { exitCode, err } = await runCommand(['simulate', 'slowlors'])
    expect([exitCode, err]).toEqual([
      1,
      `slowlors: there is no such file (name a fleet file, as my.fleet.yaml, or a ready fleet: ${READY_FLEETS.join(', ')})\n`,
    ])
  })

  it('reports unknown words and placeholders with place and remedy', async () => {
    using folder = new Folder()
    const fleet = folder.file(
      'fleet.yaml',
      'fleet:\n  - name: a\n    devices: 3\n    topic: x\n    send: { evry: 2s }\n',
    )
    const { exitCode, err } = await runCommand(['simulate', fleet])
    expect(exitCode).toBe(1)
    expect(err).toMatch(/fleet\.yaml:3:5: .*devices.*use `count`/)
    expect(err).toMatch(/fleet\.yaml:5:13: fleet\[0\]\.send: /)
    const other = folder.file(
      'other.yaml',
      'fleet:\n  - name: a\n    topic: "x/{site}"\n    send: { every: 2s }\n    faults: [{ disconnect: 1s }]\n',
    )
    const second = await runCommand(['simulate', other])
    expect(second.exitCode).toBe(1)
    expect(second.err).toContain('other.yaml:3:5: fleet[0].topic: {site} is unknown')
    expect(second.err).toMatch(/other\.yaml:5:\d+: fleet\[0\]\.faults\[0\]: the fault has no time/)
  })

  it('reports what a device cannot ignore', async () => {
    using folder = new Folder()
    const fleet = folder.file(
      'fleet.yaml',
      'fleet:\n  - { name: a, topic: x, send: { every: 1s }, ignores: [puback] }\n',
    )
    const { exitCode, err } = await runCommand(['simulate', fleet])
    expect(exitCode).toBe(1)
    expect(err).toBe(
      `${fleet}:2:47: fleet[0].ignores: messages of QoS 0 have no puback (write qos: 1, or remove puback)\n`,
    )
    const other = folder.file(
      'other.yaml',
      'fleet:\n  - { name: a, topic: x, send: { every: 1s }, ignores: [pingresp] }\n',
    )
    const second = await runCommand(['simulate', other])
    expect(second.err).toBe(
      `${other}:2:57: fleet[0].ignores[0]: "pingresp" is not puback or disconnect (use one of puback, disconnect)\n`,
    )
  })

  it('reports words that belong together with place and remedy', async () => {
    using folder = new Folder()
    const fleet = folder.file(
      'fleet.yaml',
      [
        'fleet:',
        '  - { name: a, topic: x, qos: 1, connects: { every: 1s } }',
        '  - { name: b }',
        '  - { name: c, send: { every: 1s } }',
        '  - { name: d, topic: x, send: { every: 1s }, connects: { every: 1s, slow: 2s } }',
      ].join('\n'),
    )
    const { exitCode, err } = await runCommand(['simulate', fleet])
    expect(exitCode).toBe(1)
    expect(err.trimEnd().split('\n')).toEqual([
      `${fleet}:2:16: fleet[0].topic: the group sends no messages (add send: { every: 10s }, or remove topic)`,
      `${fleet}:2:26: fleet[0].qos: the group sends no messages (add send: { every: 10s }, or remove qos)`,
      `${fleet}:3:7: fleet[1]: the group neither sends nor connects (write send: { every: 10s }, or connects: { every: 200ms })`,
      `${fleet}:4:7: fleet[2]: the group sends messages without a topic (write topic: fleet/a/{client}/telemetry)`,
      `${fleet}:5:70: fleet[3].connects.slow: a device that is slow to connect sends nothing (remove slow or send, or make two groups of it)`,
    ])
  })

  it('reports a capture that cannot be written', async () => {
    using folder = new Folder()
    const { exitCode, err } = await runCommand([
      'simulate',
      'flood',
      '--capture',
      join(folder.path, 'none', 'c.jsonl'),
    ])
    expect(exitCode).toBe(1)
    expect(err).toMatch(/c\.jsonl: the capture cannot be written: ENOENT \(name another file\)/)
  })

  // A hash that differs means that all captures made from these fleets differ: only on purpose.
  it.each([
    ['fleet', '5m', '69950eb5496ef176'],
    ['flood', '4m', '167cfd0cdf28b525'],
    ['reconnect-storm', '12m', '0c3c649406b384a7'],
    ['flapping', '3m', '3ee8f7f8081ed52c'],
    ['slowloris', '4m', '32189a9e89ab2b35'],
    ['quota-month-end', '6h', '3c5b85e23cc11a04'],
  ])('writes the same capture of %s as earlier versions', async (name, length, sha256) => {
    const { out } = await runCommand(['simulate', name, '--for', length, '--capture', '-'])
    expect(createHash('sha256').update(out).digest('hex').slice(0, 16)).toBe(sha256)
  })

  it('has every fleet of the package by name', async () => {
    const files = readdirSync(packageFile('config/fleets')).map(file => file.replace(/\.yaml$/, ''))
    expect(files.toSorted()).toEqual(READY_FLEETS.toSorted())
    for (const name of READY_FLEETS) {
      const { exitCode, out } = await runCommand(['simulate', name, '--for', '1m', '--json'])
      expect([name, exitCode]).toEqual([name, 0])
      expect((json(out).groups as readonly { messages: number }[])[0]!.messages).toBeGreaterThan(0)
    }
  })
})
