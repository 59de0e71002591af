import { describe, expect, it } from 'vitest'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import {
  createSender,
  type Decision,
  Gate,
  type GateOptions,
  type Message,
  type Sender,
} from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

function from(sender: Sender): Message {
  return { topic: 't', on: 'publish', sender, size: 1 }
}

function gateWith(tierOf: GateOptions['tierOf']): { gate: Gate; clock: FakeClock } {
  const clock = new FakeClock(0)
  return {
    gate: new Gate({ clock, tiers: { assign: { default: 'free' } }, ...(tierOf && { tierOf }) }),
    clock,
  }
}

describe('a tier lookup', () => {
  it('is awaited once per sender, and cached', async () => {
    let asked = 0
    const { gate } = gateWith(async ({ user }) => {
      asked++
      return user === 'ann' ? 'pro' : undefined
    })
    const ann = createSender({ client: 'c', user: 'ann' })
    const first = gate.check(from(ann))
    const second = gate.check(from(ann))
    expect(first).toBeInstanceOf(Promise)
    expect([await first, await second]).toMatchObject([
      { rule: 'tier:pro' },
      { rule: 'tier:pro', remaining: 1998 },
    ])
    expect(gate.check(from(ann))).toMatchObject({ rule: 'tier:pro' })
    expect(gate.check(from({ client: 'other', user: 'ann' }))).toMatchObject({ rule: 'tier:pro' })
    expect(asked).toBe(1)
    expect(await gate.check(from({ user: 'bob' }))).toMatchObject({ rule: 'tier:free' })
    expect(await gate.explain(from({ user: 'eve' }))).toMatchObject({ decision: { rule: 'tier:free' } })
    expect(asked).toBe(3)
    await gate.close()
  })

  it('may be synchronous: no promise is created', async () => {
    const { gate } = gateWith(() => 'basic')
    expect(gate.check(from({ client: 'c' }))).toMatchObject({ rule: 'tier:basic' })
    await gate.close()
  })

  it('falls back to the default if it throws, rejects, is late or returns an unknown tier', async () => {
    const { gate, clock } = gateWith(sender => {
      if (sender.client === 'throws') throw new Error('no')
      if (sender.client === 'rejects') return Promise.reject(new Error('no'))
      if (sender.client === 'late') return new Promise(() => {})
      return Promise.resolve('gold')
    })
    expect(gate.check(from({ client: 'throws' }))).toMatchObject({ rule: 'tier:free' })
    expect(await gate.check(from({ client: 'rejects' }))).toMatchObject({ rule: 'tier:free' })
    expect(await gate.check(from({ client: 'unknown' }))).toMatchObject({ rule: 'tier:free' })
    const late = gate.check(from({ client: 'late' }))
    await clock.advanceAsync(1_000)
    expect(await late).toMatchObject({ rule: 'tier:free' })
    await gate.close()
  })

  it('is repeated when its answer is old, which still applies meanwhile', async () => {
    let tier = 'pro'
    let asked = 0
    const { gate, clock } = gateWith({
      of: async () => {
        asked++
        return tier
      },
      keepMs: 10_000,
    })
    const sender = createSender({ client: 'c' })
    expect(await gate.check(from(sender))).toMatchObject({ rule: 'tier:pro' })
    tier = 'basic'
    await clock.advanceAsync(9_999)
    expect(gate.check(from(sender))).toMatchObject({ rule: 'tier:pro' })
    expect(asked).toBe(1)
    await clock.advanceAsync(1)
    expect(gate.check(from(sender))).toMatchObject({ rule: 'tier:pro' })
    await clock.advanceAsync(0)
    expect(gate.check(from(sender))).toMatchObject({ rule: 'tier:basic' })
    expect(asked).toBe(2)
    await gate.close()
    expect(clock.pending).toBe(0)
  })

  it('is bounded in concurrent calls and cached senders', async () => {
    let asked = 0
    const answers: ((tier: string) => void)[] = []
    const { gate } = gateWith(() => {
      asked++
      return new Promise(resolve => answers.push(resolve))
    })
    const waiting = Array.from({ length: MAX_SIZES.pendingTierLookups }, (_, i) =>
      gate.check(from({ client: `c${i}` })),
    )
    expect(gate.check(from({ client: 'one too many' }))).toMatchObject({ rule: 'tier:free' })
    expect(asked).toBe(MAX_SIZES.pendingTierLookups)
    for (const answer of answers) answer('pro')
    expect((await Promise.all(waiting)).every(({ rule }: Decision) => rule === 'tier:pro')).toBe(true)
    await gate.close()
    let atOnce = 0
    const other = gateWith(() => {
      atOnce++
      return 'pro'
    }).gate
    for (let i = 0; i <= MAX_SIZES.cachedTiers; i++) other.check(from({ client: `c${i}` }))
    other.check(from({ client: 'c1' }))
    expect(atOnce).toBe(MAX_SIZES.cachedTiers + 1)
    other.check(from({ client: 'c0' }))
    expect(atOnce).toBe(MAX_SIZES.cachedTiers + 2)
    await other.close()
  })
})
