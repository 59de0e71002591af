import { describe, expect, it } from 'vitest'
import { Analytics } from '../../src/analytics/analytics.ts'
import type { Clock } from '../../src/core/clock.ts'
import type { Decision } from '../../src/core/decision.ts'
import { SILENT } from '../../src/core/logger.ts'
import { RefusalLog } from '../../src/guard/refusal-log.ts'
import { createSender, Gate, limit, type Sender } from '../../src/index.ts'

/** V8 hashes strings of more characters than this by their length alone. */
const LONGEST_HASHED = 16_383
const NAMES = 2_000
/** Quadratic time takes more than 20 times as long at this size, measured. */
const MOST_TIMES_AS_LONG = 6

/** Different names of one length, built so that each is a flat string of its own. */
function namesOf(length: number): readonly string[] {
  return Array.from({ length: NAMES }, (_, index) =>
    Buffer.from(`${'z'.repeat(length - 6)}${String(index).padStart(6, '0')}`).toString(),
  )
}

/** CPU time, not elapsed time: other processes do not count. */
function cpuMs(run: () => void): number {
  const before = process.cpuUsage()
  run()
  const { user, system } = process.cpuUsage(before)
  return (user + system) / 1_000
}

const REFUSED: Decision = {
  allowed: false,
  outcome: 'drop',
  reason: 'rate_limit_exceeded',
  rule: 'r',
  retryAfterMs: 7,
}

function gateOf(): Gate {
  return new Gate().use(limit({ name: 'x', rate: '1/min', per: 'client', exceeded: 'drop' }))
}

function senderOf(client: string): Sender {
  return createSender({ client })
}

const KEYED: Readonly<Record<string, () => (name: string) => void>> = {
  'topics of publishes': () => {
    const gate = gateOf()
    const sender = senderOf('c')
    return topic => void gate.check({ topic, on: 'publish', sender, size: 0 })
  },
  'filters of subscribes': () => {
    const gate = gateOf()
    const sender = senderOf('c')
    return topic => void gate.check({ topic, on: 'subscribe', sender, size: 0 })
  },
  'client ids of senders': () => {
    const gate = gateOf()
    return client => void gate.check({ topic: 't', on: 'publish', sender: senderOf(client), size: 0 })
  },
  'client ids in the refusal log': () => {
    const clock: Clock = { now: () => 0, after: () => () => {} }
    const log = new RefusalLog(SILENT, clock)
    return client => log.recordRefusal({ topic: 't', on: 'publish', sender: { client }, size: 1 }, REFUSED)
  },
  'client ids in penalties': () => {
    const gate = new Gate({ penalties: { block: '60s', after: '3 refusals in 10s' } }).use(
      limit({ name: 'x', rate: '1/min', exceeded: 'drop' }),
    )
    return client => void gate.check({ topic: 't', on: 'publish', sender: senderOf(client), size: 0 })
  },
  'client ids in analytics': () => {
    const gate = new Gate().use(limit({ name: 'x', rate: '1/min', exceeded: 'drop' }))
    new Analytics({ gate })
    return client => void gate.check({ topic: 't', on: 'publish', sender: senderOf(client), size: 0 })
  },
}

describe('names longer than V8 hashes in full', () => {
  it.each(Object.entries(KEYED))('cost no more than shorter ones: %s', (_, make) => {
    const short = namesOf(LONGEST_HASHED - 300)
    const long = namesOf(LONGEST_HASHED + 300)
    const measure = (names: readonly string[]): number => {
      const take = make()
      return cpuMs(() => {
        for (const name of names) take(name)
      })
    }
    measure(short)
    expect(measure(long)).toBeLessThan(MOST_TIMES_AS_LONG * (measure(short) + 5))
  })
})
