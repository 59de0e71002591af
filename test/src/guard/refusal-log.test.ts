import { describe, expect, it } from 'vitest'
import type { Decision } from '../../../src/core/decision.ts'
import type { Message } from '../../../src/core/message.ts'
import { RefusalLog } from '../../../src/guard/refusal-log.ts'
import { Gate } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const REFUSED: Decision = {
  allowed: false,
  outcome: 'drop',
  reason: 'rate_limit_exceeded',
  rule: 'r',
  retryAfterMs: 7,
}

function from(client: string, topic = 't'): Message {
  return { topic, on: 'publish', sender: { client }, size: 1 }
}

function setUp() {
  const clock = { ms: 0, now: () => clock.ms, after: () => () => {} }
  const keyQueues: Record<string, unknown>[] = []
  const logger = {
    debug() {},
    info: (fields: object) => keyQueues.push(fields as Record<string, unknown>),
    warn() {},
    error() {},
  }
  return { clock, keyQueues, log: new RefusalLog(logger, clock) }
}

describe('the log of refusals', () => {
  it('shows user and device, also those that a policy adds', async () => {
    const keyQueues: Record<string, unknown>[] = []
    const logger = {
      debug() {},
      info: (fields: object) => keyQueues.push({ ...fields }),
      warn() {},
      error() {},
    }
    const gate = await Gate.fromPolicy({
      senders: { device: '{topic.device}' },
      rules: [{ name: 'r', topic: 'fleet/{device}/#', limit: '1/s' }],
    })
    const log = new RefusalLog(logger, new FakeClock(), message => gate.senderOf(message))
    log.recordRefusal(
      { topic: 'fleet/d7/t', on: 'publish', sender: { client: 'c', user: 'ann' }, size: 1 },
      REFUSED,
    )
    expect(keyQueues).toMatchObject([{ client: 'c', user: 'ann', device: 'd7' }])
    await gate.close()
  })

  it('has one line for each rule and client in ten seconds, with the number of refusals', () => {
    const { clock, keyQueues, log } = setUp()
    for (let i = 0; i < 100; i++) log.recordRefusal(from('a'), REFUSED)
    log.recordRefusal(from('b'), REFUSED)
    log.recordRefusal(from('a'), { ...REFUSED, rule: 's' })
    clock.ms = 9_999
    log.recordRefusal(from('a'), REFUSED)
    clock.ms = 10_000
    log.recordRefusal(from('a'), REFUSED)
    expect(keyQueues.map(({ rule, client, suppressed }) => [rule, client, suppressed])).toEqual([
      ['r', 'a', 0],
      ['r', 'b', 0],
      ['s', 'a', 0],
      ['r', 'a', 100],
    ])
  })
  it('bounds the clients it remembers, and the length of their names', () => {
    const { keyQueues, log } = setUp()
    for (let i = 0; i < 1_024; i++) log.recordRefusal(from(`c${i}`), REFUSED)
    log.recordRefusal(from('c0'), REFUSED)
    expect(keyQueues).toHaveLength(1_024)
    log.recordRefusal(from('x'.repeat(60_000), 'y'.repeat(65_535)), REFUSED)
    log.recordRefusal(from('c0'), REFUSED)
    expect(keyQueues).toHaveLength(1_026)
    expect(String(keyQueues[1_024]?.client)).toHaveLength(129)
    expect(String(keyQueues[1_024]?.topic)).toHaveLength(129)
  })
  it('ignores a logger that throws, and is silent without one', () => {
    const clock = { now: () => 0, after: () => () => {} }
    const broken = (): never => {
      throw new Error('disk full')
    }
    const log = new RefusalLog({ debug: broken, info: broken, warn: broken, error: broken }, clock)
    expect(() => log.recordRefusal(from('a'), REFUSED)).not.toThrow()
    expect(() => new RefusalLog(undefined, clock).recordRefusal(from('a'), REFUSED)).not.toThrow()
  })
})
