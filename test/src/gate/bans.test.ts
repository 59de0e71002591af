import { afterEach, describe, expect, it } from 'vitest'
import type { RuntimeEntryChange } from '../../../src/gate/runtime-entry.ts'
import { createSender, Gate, limit, type Message, PolicyError } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const open: Gate[] = []
afterEach(async () => {
  for (const gate of open.splice(0)) await gate.close()
})

function gateAt(nowMs = 0): { gate: Gate; clock: FakeClock; audit: RuntimeEntryChange[] } {
  const clock = new FakeClock(nowMs)
  const gate = new Gate({ clock }).use(limit({ name: 'r', rate: '100/s', per: 'client' }))
  open.push(gate)
  const audit: RuntimeEntryChange[] = []
  gate.on('audit', change => audit.push(change))
  return { gate, clock, audit }
}

function from(sender: Message['sender'], more: Partial<Message> = {}): Message {
  return { topic: 't', on: 'publish', sender, size: 1, ...more }
}

describe('a ban', () => {
  it('applies at once to a known sender, and ends to the millisecond', async () => {
    const { gate, clock } = gateAt()
    const sender = createSender({ client: 'c1', ip: '10.0.0.7' })
    expect(gate.check(from(sender))).toMatchObject({ allowed: true })
    await gate.bans.add({ client: 'c1', reason: 'floods', for: '60s' })
    expect(gate.check(from(sender))).toEqual({
      allowed: false,
      outcome: 'reject',
      reason: 'banned',
      retryAfterMs: 60_000,
    })
    clock.advance(59_999)
    expect(gate.check(from(sender))).toMatchObject({ reason: 'banned', retryAfterMs: 1 })
    clock.advance(1)
    expect(gate.check(from(sender))).toMatchObject({ allowed: true, reason: 'ok' })
    expect(gate.bans.list()).toEqual([])
  })

  it('that ends last applies, and the harsher one of those that end together', async () => {
    const { gate, clock } = gateAt()
    const message = from({ client: 'c', user: 'u', device: 'd', ip: '10.0.0.7' })
    const add = (subject: object, outcome: 'drop' | 'reject' | 'disconnect', length: number) =>
      gate.bans.add({ ...subject, outcome, reason: 'x', for: length } as never)
    await add({ client: 'c' }, 'reject', 5_000)
    await add({ user: 'u' }, 'disconnect', 5_000)
    await add({ device: 'd' }, 'drop', 5_000)
    expect(gate.check(message)).toMatchObject({ outcome: 'disconnect', retryAfterMs: 5_000 })
    await add({ ip: '10.0.0.7' }, 'drop', 6_000)
    expect(gate.check(message)).toMatchObject({ outcome: 'drop', retryAfterMs: 6_000 })
    await gate.bans.remove('ip:10.0.0.7/32')
    clock.advance(1)
    await add({ client: 'c' }, 'disconnect', 4_999)
    await gate.bans.remove('user:u')
    expect(gate.check(message)).toMatchObject({ outcome: 'disconnect', retryAfterMs: 4_999 })
  })

  it.each([
    [{ client: 'c' }],
    [{ user: 'u' }],
    [{ device: 'd' }],
    [{ apiKey: 'k' }],
    [{ ip: '10.1.2.3' }],
    [{ ip: '10.0.0.0/8' }],
  ])('of %j applies to every action of its senders only', async subject => {
    const { gate } = gateAt()
    await gate.bans.add({ ...subject, reason: 'test' })
    const sender = { client: 'c', user: 'u', device: 'd', apiKey: 'k', ip: '10.1.2.3' }
    for (const on of ['publish', 'subscribe', 'connect', 'deliver'] as const) {
      expect(gate.check(from(sender, { on }))).toMatchObject({
        allowed: false,
        reason: 'banned',
        retryAfterMs: Infinity,
      })
    }
    expect(gate.check(from({ client: 'other', user: 'o', ip: '192.0.2.1' }))).toMatchObject({ allowed: true })
  })

  it('precedes exemptions, overrides and conditions: the payload is not parsed', async () => {
    const { gate } = gateAt()
    await gate.exemptions.add({
      name: 'urgent',
      when: { payload: { field: 'priority', equals: 'high' } },
      reason: 'x',
    })
    await gate.overrides.add({ client: 'c', limit: 'unlimited', reason: 'x' })
    await gate.bans.add({ client: 'c', reason: 'x', outcome: 'disconnect' })
    let parsed = 0
    const message = from({ client: 'c' }, { payload: () => ++parsed })
    expect(gate.check(message)).toMatchObject({ outcome: 'disconnect', reason: 'banned' })
    expect(gate.peek(message)).toMatchObject([{ reason: 'banned' }])
    expect(await gate.explain(message)).toMatchObject({
      ban: { id: 'client:c', reason: 'x' },
      decision: { reason: 'banned' },
    })
    expect(parsed).toBe(0)
  })

  it('charges nothing', async () => {
    const { gate } = gateAt()
    await gate.bans.add({ client: 'c', reason: 'x' })
    for (let i = 0; i < 50; i++) gate.check(from({ client: 'c' }))
    await gate.bans.remove('client:c')
    expect(gate.check(from({ client: 'c' }))).toMatchObject({ remaining: 99 })
  })

  it('replaces an earlier one of the same name, is listed with author, time and reason, and can be removed', async () => {
    const { gate, clock } = gateAt(1_000)
    await gate.bans.add({ ip: '10.1.2.3/8', reason: 'first', for: 1_000 })
    clock.advance(10)
    await gate.bans.add({ ip: '10.0.0.0/8', reason: 'second', code: 'abuse', addedBy: 'ann', for: '1h' })
    const note = {
      id: 'ip:10.0.0.0/8',
      ip: '10.0.0.0/8',
      outcome: 'reject',
      reason: 'second',
      code: 'abuse',
      addedBy: 'ann',
    }
    expect(gate.bans.list()).toEqual([{ ...note, addedAtMs: 1_010, expiresAtMs: 3_601_010 }])
    expect(gate.bans.get('ip:10.0.0.0/8')).toMatchObject(note)
    clock.advance(2_000)
    expect(gate.check(from({ ip: '10.9.9.9' }))).toMatchObject({ reason: 'banned' })
    expect(await gate.bans.remove('ip:10.0.0.0/8', { by: 'bob' })).toBe(true)
    expect(await gate.bans.remove('ip:10.0.0.0/8')).toBe(false)
    expect(gate.check(from({ ip: '10.9.9.9' }))).toMatchObject({ allowed: true })
  })

  it('is written to the audit log with author, start, end and reason', async () => {
    const { gate, clock, audit } = gateAt()
    await gate.bans.add({ client: 'a', reason: 'floods', addedBy: 'ann', for: 500 })
    await gate.bans.add({ client: 'b', reason: 'also', addedBy: 'ann' })
    await gate.bans.remove('client:b', { by: 'bob', reason: 'a mistake' })
    clock.advance(500)
    expect(audit.map(({ action, id, atMs, by, reason }) => [action, id, atMs, by, reason])).toEqual([
      ['added', 'client:a', 0, 'ann', 'floods'],
      ['added', 'client:b', 0, 'ann', 'also'],
      ['removed', 'client:b', 0, 'bob', 'a mistake'],
      ['expired', 'client:a', 500, 'clock', 'its time is over'],
    ])
  })

  it('survives a change of the policy', async () => {
    const { gate } = gateAt()
    await gate.bans.add({ client: 'a', reason: 'x' })
    gate.use(limit({ name: 'more', rate: '1/s' }))
    expect(gate.check(from({ client: 'a' }))).toMatchObject({ reason: 'banned' })
  })

  it.each([
    [{ reason: 'nobody' }],
    [{ client: 'a', reason: '' }],
    [{ client: 'a', reason: 'x'.repeat(501) }],
    [{ client: 'a', reason: 'x', for: 'ever' }],
    [{ client: 'a', reason: 'x', for: 0 }],
    [{ client: 'a', reason: 'x', outcome: 'queue' }],
    [{ ip: 'x', reason: 'x' }],
  ])('is refused as %j', async options => {
    const { gate } = gateAt()
    await expect(gate.bans.add(options as never)).rejects.toBeInstanceOf(PolicyError)
    expect(gate.bans.list()).toEqual([])
  })

  it('leaves no timer behind when the gate is closed', async () => {
    const clock = new FakeClock(0)
    const before = new Gate({ clock })
    const idle = clock.pending
    await before.bans.add({ client: 'a', reason: 'x', for: '1h' })
    expect(clock.pending).toBe(idle + 1)
    await before.close()
    expect(clock.pending).toBe(0)
  })
})
