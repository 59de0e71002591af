import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { VirtualClock } from '../../src/cli/replay/virtual-clock.ts'
import type { Decision, Gate } from '../../src/index.ts'
import { startBroker, subscribeAll } from '../brokers/aedes/harness.ts'
import { openAdminScene } from '../src/admin/admin-scene.ts'
import { runCommand } from '../src/cli/fake-terminal.ts'
import { Folder } from '../src/cli/folder.ts'
import { until } from '../support/wait.ts'

/** Sensors that lose their network now and then, and send what they kept when they return; and a flooder. */
const FLEET = `
seed: 7
for: 20m
fleet:
  - name: sensors
    count: 60
    topic: fleet/{site}/{client}/telemetry/temp
    values: { site: [a, b] }
    qos: 1
    size: 80-200
    send: { every: 10s, jitter: 20% }
    faults: [{ every: 5m, disconnect: 60s, flushEvery: 20ms }]
  - name: flooder
    topic: fleet/a/{client}/telemetry/temp
    qos: 1
    send: { flood: 10/s }
`
/** Share of the time that limits are suggested from. The rest is held out: no step before the trial sees it. */
const TRAINING_SHARE = 0.7
const FLOODER = 'flooder-1'

interface Published {
  readonly at: number
  readonly topic: string
  readonly client: string
  readonly size: number
}

/** The fields of a decision that a replay prints. */
type Printed = Pick<Decision, 'allowed' | 'outcome' | 'reason' | 'retryAfterMs'> & {
  readonly rule: string | null
  readonly limit: number | null
  readonly remaining: number | null
  readonly shadow?: readonly string[]
}

function printed(decision: Decision): Printed {
  const {
    allowed,
    outcome,
    reason,
    rule = null,
    limit = null,
    remaining = null,
    retryAfterMs,
    shadow,
  } = decision
  return { allowed, outcome, reason, rule, limit, remaining, retryAfterMs, ...(shadow && { shadow }) }
}

async function topicgate(...args: readonly string[]): Promise<string> {
  const { exitCode, out, err } = await runCommand(args)
  expect(err).toBe('')
  expect(exitCode).toBe(0)
  return out
}

/** Replays a capture and returns its decisions, without time and topic. */
async function replayed(policies: readonly string[], capture: string): Promise<readonly Printed[]> {
  const out = await topicgate('replay', ...policies, capture, '--json')
  return out
    .trim()
    .split('\n')
    .map(line => {
      const {
        at: _at,
        topic: _topic,
        ...decision
      } = JSON.parse(line) as Printed & { at: number; topic: string }
      return decision
    })
}

/** Publishes the messages with real clients to a broker, each at its own virtual time. Returns the decisions. */
async function publishLive(gate: Gate, clock: VirtualClock, messages: readonly Published[]) {
  const decisions: Printed[] = []
  gate.on('decision', (decision, { on }) => {
    if (on === 'publish') decisions.push(printed(decision))
  })
  const broker = await startBroker({ gate, limiter: { dropGateAfter: 1_000_000_000 } })
  try {
    const seen = await subscribeAll(await broker.connect(), 'fleet/#')
    const clients = new Map<string, Awaited<ReturnType<typeof broker.connect>>>()
    for (const client of new Set(messages.map(message => message.client)))
      clients.set(client, await broker.connect({ clientId: client }))
    for (const { at, topic, client, size } of messages) {
      clock.moveTo(at)
      await clients.get(client)!.publishAsync(topic, Buffer.alloc(size), { qos: 1 })
    }
    const allowed = decisions.filter(decision => decision.allowed).length
    await until(() => seen.length >= allowed, { what: 'the deliveries' })
    return { decisions, delivered: seen.length }
  } finally {
    await broker.close()
  }
}

describe('the way from traffic to an enforced policy', () => {
  it('suggests a limit that hits a flooder and no device, tries it in shadow, compares it and enforces it', async () => {
    using folder = new Folder()
    const path = (name: string): string => join(folder.path, name)

    // Record. The fleet stands for a day of traffic; its last part is held out.
    await topicgate('simulate', folder.file('fleet.yaml', FLEET), '--capture', path('all.jsonl.gz'))
    const lines = gunzipSync(readFileSync(path('all.jsonl.gz')))
      .toString()
      .trim()
      .split('\n')
    const all = lines.filter(line => !line.includes('"on":"connect"'))
    const messages = all.map(line => JSON.parse(line) as Published)
    const [first, last] = [messages[0]!.at, messages.at(-1)!.at]
    const heldOutMs = first + TRAINING_SHARE * (last - first)
    const cut = messages.findIndex(({ at }) => at >= heldOutMs)
    writeFileSync(path('training.jsonl'), `${all.slice(0, cut).join('\n')}\n`)
    writeFileSync(path('held-out.jsonl'), `${all.slice(cut).join('\n')}\n`)
    const heldOut = messages.slice(cut)
    const isFlooder = heldOut.map(({ client }) => client === FLOODER)
    expect(heldOut.length).toBeGreaterThan(4_000)

    // Suggest, from the part before.
    const suggested = path('suggested.yaml')
    const pattern = ['--topic', 'fleet/{site}/{device}/#', '--per', 'client']
    await topicgate('suggest', path('training.jsonl'), ...pattern, '--write', suggested)
    const policy = readFileSync(suggested, 'utf8')
    expect(policy).toMatch(/Set apart: flooder-1/)
    expect(policy).toContain('shadow: true')

    // Shadow: nothing is refused, and what would be is reported.
    const heldOutFile = path('held-out.jsonl')
    const inShadow = await replayed([suggested], heldOutFile)
    expect(inShadow.every(({ allowed }) => allowed)).toBe(true)
    const wouldRefuse = inShadow.map(({ shadow }) => shadow !== undefined)

    // Diff: what enforcing it would change.
    const overlay = path('overlay.yaml')
    const [rule] = /(?<=name: )\S+/.exec(policy) ?? []
    const enforcing = folder.file('enforcing.yaml', `rules: [{ name: ${rule}, shadow: false }]\n`)
    const diff = JSON.parse(
      await topicgate('diff', suggested, `${suggested},${enforcing}`, '--capture', heldOutFile, '--json'),
    ) as { readonly decisions: Readonly<Record<string, { readonly count: number }>> }
    const newlyRefused = wouldRefuse.filter(Boolean).length
    expect(diff.decisions['newly-refused']).toMatchObject({ count: newlyRefused })

    // Live, in shadow: every message is delivered, and the decisions are those of the replay.
    writeFileSync(overlay, '{}\n')
    const clock = new VirtualClock(heldOut[0]!.at)
    const files = [suggested, overlay]
    const reload = (): Promise<void> => scene.gate.apply(files)
    const scene = await openAdminScene({
      policy: files,
      gate: { clock },
      server: { policy: { files: [suggested], overlay, reload } },
    })
    const trial = await publishLive(scene.gate, clock, heldOut)
    expect(trial.decisions).toEqual(inShadow)
    expect(trial.delivered).toBe(heldOut.length)
    await scene.server.close()

    // Enforce: on a node that starts anew, as its counters are full of the trial.
    const enforcedClock = new VirtualClock(heldOut[0]!.at)
    const enforcedReload = (): Promise<void> => enforced.gate.apply(files)
    const enforced = await openAdminScene({
      policy: files,
      gate: { clock: enforcedClock },
      server: { policy: { files: [suggested], overlay, reload: enforcedReload } },
    })
    const env = {
      TOPICGATE_ADMIN: enforced.url,
      TOPICGATE_TOKEN: enforced.tokens.admin,
      HOME: enforced.folder,
    }
    const promoted = await runCommand(['promote', rule!, '--reason', 'the trial went well'], { env })
    expect(promoted.out).toContain(`${rule} refuses from now on`)
    const live = await publishLive(enforced.gate, enforcedClock, heldOut)
    await enforced.server.close()
    expect(live.decisions).toEqual(await replayed(files, heldOutFile))
    // Number by number: what the shadow would have refused is what is refused.
    expect(live.decisions.map(({ allowed }) => !allowed)).toEqual(wouldRefuse)
    expect(live.delivered).toBe(heldOut.length - newlyRefused)

    const lost = (flooder: boolean): number => {
      const own = live.decisions.filter((_, index) => isFlooder[index] === flooder)
      return own.filter(({ allowed }) => !allowed).length / own.length
    }
    expect(lost(false)).toBeLessThan(0.001)
    expect(lost(true)).toBeGreaterThanOrEqual(0.95)
  })
})
