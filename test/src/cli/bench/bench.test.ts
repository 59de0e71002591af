import { describe, expect, it } from 'vitest'
import type { BenchReport } from '../../../../src/cli/bench/bench-report.ts'
import { BenchMessage, fillPattern, makeTraffic } from '../../../../src/cli/bench/bench-traffic.ts'
import type { Dialect } from '../../../../src/core/message.ts'
import { type Decision, Gate, matches } from '../../../../src/index.ts'
import { loadPolicy } from '../../../../src/policy/index.ts'
import { runCommand } from '../fake-terminal.ts'
import { Folder } from '../folder.ts'

const POLICY = `
version: 1
senders:
  device: "{topic.device}"
exempt:
  - { name: health, topics: ["system/#"] }
rules:
  - { name: telemetry, topic: "fleet/{site}/{device}/#", per: [site, device], limit: 10/s burst 20, exceeded: drop }
  - { name: connects, on: connect, per: ip, limit: 20/s }
  - { name: clients, per: client, quota: 100/day }
`

async function bench(policy: string, ...args: string[]) {
  using folder = new Folder()
  const file = folder.file('policy.yaml', policy)
  const found = await runCommand(['bench', file, '--for', '60ms', '--senders', '60', '--json', ...args])
  return { ...found, report: JSON.parse(found.out) as BenchReport }
}

describe('bench', () => {
  it('measures allowed and refused decisions and memory of a policy', async () => {
    const { exitCode, err, report } = await bench(POLICY)
    expect([exitCode, err]).toEqual([0, ''])
    expect(report).toMatchObject({ senders: 60, topics: 60, policy: { rules: 3, exemptions: 1 } })
    expect(report.machine.node).toBe(process.version)
    for (const kind of ['allowed', 'refused'] as const) {
      const speed = report[kind]!
      expect([kind, speed.share]).toEqual([kind, 1])
      // How many senders it reached within its time is the machine's doing.
      expect(speed.senders).toBeGreaterThan(0)
      expect(speed.senders).toBeLessThanOrEqual(60)
      expect(speed.decisions).toBeGreaterThan(1_000)
      expect(speed.perSecond * speed.eachNs).toBeCloseTo(1e9, -1)
      expect(speed.p50Ns).toBeGreaterThan(0)
      expect(speed.p99Ns).toBeGreaterThanOrEqual(speed.p50Ns)
      expect(speed.p999Ns).toBeGreaterThanOrEqual(speed.p99Ns)
    }
    const { keys, senders, perKeyBytes, perSenderBytes } = report.memory!
    // The senders take the three in turn; telemetry is also counted by client.
    expect([keys, senders]).toEqual([2 * 16_667 + 16_667 + 16_666, 50_000])
    expect(perKeyBytes).toBeGreaterThan(20)
    expect(perSenderBytes).toBeGreaterThan(perKeyBytes!)
  })

  it('reports no allowed decisions of a policy whose overlay refuses everything', async () => {
    using folder = new Folder()
    const overlay = folder.file('overlay.yaml', 'rules: [{ name: a, cost: 50 }]')
    const { report } = await bench('rules: [{ name: a, per: client, limit: 10/s }]', '--policy', overlay)
    expect(report.policy).toMatchObject({ rules: 1, files: [expect.any(String), overlay] })
    expect([report.allowed, report.refused?.share]).toEqual([null, 1])
  })

  it('reports no refused decisions of a shadow rule, and no memory per key of a single key', async () => {
    const { report } = await bench('rules: [{ name: a, limit: 1/s, shadow: true }]')
    expect([report.allowed?.share, report.refused]).toEqual([1, null])
    expect(report.memory).toMatchObject({ keys: 1, perKeyBytes: null })
  })

  it('prints tables for people, and on a screen what it is doing', async () => {
    using folder = new Folder()
    const file = folder.file('policy.yaml', POLICY)
    const args = ['bench', file, '--for', '60ms', '--senders', '60']
    const { out, err } = await runCommand(args, { isTTY: true })
    expect(out).toMatch(/^Node v\d+.*\n.*policy\.yaml: 3 rules, 1 exemption; 60 senders on 60 topics\n\n/)
    expect(out).toMatch(/\nallowed +\d+ +[\d,]+ +[\d.,]+ (ns|µs)/)
    expect(out).toMatch(/\nrefused +\d+ +[\d,]+ +[\d.,]+ (ns|µs)/)
    expect(out).toMatch(/\neach key of a rule +\d+ +66,667\n/)
    expect(err).toContain('refused decisions')
    expect(err.endsWith('\r\u001b[K')).toBe(true)
  })

  it.each([
    [['bench'], 2, 'no policy was given'],
    [['bench', 'p.yaml', '--senders', '0'], 2, 'Write a whole number of senders'],
    [['bench', 'p.yaml', '--senders', '1000001'], 2, 'Write a whole number of senders'],
    [['bench', 'p.yaml', '--for', 'ten'], 2, 'is not a duration'],
    [['bench', 'nowhere.yaml'], 1, 'there is no such file'],
  ])('%j ends with exit code %i', async (args, code, words) => {
    const { exitCode, out, err } = await runCommand(args)
    expect([exitCode, out]).toEqual([code, ''])
    expect(err).toContain(words)
  })
})

describe('made up traffic', () => {
  it.each<[string, Dialect]>([
    ['fleet/{site}/{device}/#', 'mqtt'],
    ['a/+/b/{name}', 'mqtt'],
    ['#', 'mqtt'],
    ['+', 'mqtt'],
    ['$share/group/jobs/+/#', 'mqtt'],
    ['$SYS/broker/#', 'mqtt'],
    ['fleet.{site}.*.>', 'nats'],
    ['plain', 'nats'],
  ])('fills %s of %s with a topic it matches', (pattern, dialect) => {
    const filter = pattern.replaceAll(/\{\w+\}/g, dialect === 'mqtt' ? '+' : '*')
    for (const index of [0, 99, 123_456]) {
      const topic = fillPattern(pattern, dialect, index)
      expect(matches(filter, topic, dialect), topic).toBe(true)
    }
  })

  it('has what rules ask for: headers, payload fields, an address of its own for each sender', async () => {
    const text = `
senders: { user: "{header.x-user}" }
rules:
  - { name: a, topic: "a/{name}", per: [header.x-tenant], limit: 10/s, cost: { payload: reading.units } }
  - { name: b, topic: "a/{name}", per: user, limit: 10/s, cost: { header: x-cost } }
  - { name: off, topic: "b/#", limit: 10/s, enabled: false }
`
    const { compiled: policy } = await loadPolicy(text)
    const { flows, contents } = makeTraffic(policy, 70_000)
    expect(new Set(flows.map(({ sender }) => sender.ip)).size).toBe(70_000)
    expect(new Set(flows.map(({ topic }) => topic)).size).toBe(70_000)
    const message = new BenchMessage(flows[0]!, contents)
    expect(message.headers).toEqual({ 'x-tenant': 'x-tenant-1', 'x-user': 'x-user-1', 'x-cost': '1' })
    expect(message.payload()).toMatchObject({ reading: { units: 1 } })
    const gate = await Gate.fromPolicy(text)
    expect(((await gate.check(message)) as Decision).rule).toBe('a')
    await gate.close()
  })
})
