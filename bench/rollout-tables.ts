import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { alternate, type Findings, runCell, section, table } from './harness.ts'

/** Fleets that send about 2.5 million messages, by their senders. */
const FLEETS = {
  '202 senders': `seed: 1
for: 12h
fleet:
  - name: sensors
    count: 200
    topic: fleet/{site}/{client}/telemetry/temp
    values: { site: [a, b] }
    send: { every: 10s, jitter: 20% }
  - name: flooder
    topic: fleet/a/{client}/telemetry/{topic}
    topics: 50
    send: { flood: 20/s }
    count: 2
`,
  '10,000 senders': `seed: 1
for: 4h
fleet:
  - name: sensors
    count: 10000
    topic: fleet/{site}/{client}/telemetry/temp
    values: { site: [a, b] }
    send: { every: 1m, jitter: 20% }
`,
} as const

const POLICIES = {
  one: `rules:
  - { name: telemetry, topic: "fleet/{site}/{device}/telemetry/#", per: client, limit: 10/s burst 20, exceeded: drop }
`,
  two: `senders: { device: "{topic.device}" }
exempt: [{ name: operators, roles: [admin] }]
rules:
  - { name: telemetry, topic: "fleet/{site}/{device}/telemetry/#", per: device, limit: 10/s burst 20, exceeded: throttle }
  - { name: daily, per: client, quota: 10000/day }
`,
} as const

/** Commands that a limit is rolled out with, on captures. */
export async function rollout(rounds: number): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'topicgate-bench-'))
  const write = (name: string, text: string): string => {
    const path = join(folder, name)
    writeFileSync(path, text)
    return path
  }
  const [one, two] = [write('one.yaml', POLICIES.one), write('two.yaml', POLICIES.two)]
  const rows = new Map<string, string[]>()
  try {
    for (const fleetText of Object.values(FLEETS)) {
      const fleet = write('fleet.yaml', fleetText)
      const capture = join(folder, 'capture.jsonl')
      await runCell('rollout', ['simulate', fleet, '--capture', capture])
      const run =
        (...args: readonly string[]) =>
        (): Promise<Findings> =>
          runCell('rollout', args)
      const found = await alternate(rounds, {
        'node:readline and JSON.parse': run('lines', capture),
        '`replay`, one rule': run('replay', one, capture),
        '`replay`, two rules': run('replay', two, capture),
        '`suggest`': run('suggest', capture),
        '`diff` of both': run('diff', one, two, '--capture', capture),
        '`simulate`, one rule': run('simulate', fleet, '--policy', one),
      })
      const [peer] = Object.values(found)
      for (const [work, { userSeconds }] of Object.entries(found)) {
        const perSecond = Math.round(peer!.lines! / userSeconds!).toLocaleString('en')
        const ratio = `${(peer!.userSeconds! / userSeconds!).toFixed(2)}×`
        rows.set(work, [...(rows.get(work) ?? [work]), perSecond, ratio])
      }
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
  return section(
    'Rolling out a limit',
    'Messages per second of user CPU, start of the process included, on captures of about 2.5 million messages: of 202 senders, two of which flood 50 topics each, and of 10,000 senders with a message a minute each. The first line only reads the lines of the capture and parses them; `×` is the ratio to it. `diff` decides each message with two policies. `simulate` creates its messages itself. Compiled from source, without bundles.',
    table(['work', ...Object.keys(FLEETS).flatMap(senders => [senders, '×'])], [...rows.values()]),
  )
}
