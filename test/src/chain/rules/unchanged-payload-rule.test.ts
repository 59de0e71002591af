import { describe, expect, it } from 'vitest'
import { limit } from '../../../../src/chain/rules/create-limit-middleware.ts'
import {
  compileUnchangedRule,
  LastPayloads,
  type UnchangedRuleInPlan,
} from '../../../../src/chain/rules/unchanged-payload-rule.ts'
import { PASSED } from '../../../../src/core/decision.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import type { Message } from '../../../../src/core/message.ts'
import { Guard } from '../../../../src/guard/guard.ts'
import { Gate, MemoryStore, PolicyError, type UnchangedPayloadOptions } from '../../../../src/index.ts'
import { FakeClock } from '../../../support/fake-clock.ts'
import { gateOn, STORE_NAMES, useStores } from '../each-store.ts'

useStores()

const SENDERS = new Map<string, { client: string; roles?: string[] }>()

function sender(client: string): { client: string } {
  const known = SENDERS.get(client) ?? { client }
  SENDERS.set(client, known)
  return known
}

/** A message of client `a` on topic `t`. */
const value = (payload: string | Uint8Array, more: Partial<Message> = {}): Message => {
  const bytes = Buffer.from(payload)
  return {
    ...{ topic: 't', on: 'publish', sender: sender('a'), size: bytes.length, bytes: () => bytes },
    ...more,
  }
}

const EQUAL = { allowed: false, outcome: 'drop', reason: 'unchanged', rule: 'repeats' }

describe.each(STORE_NAMES)('a rule against repeated payloads, on the %s store', store => {
  it('drops what equals the last payload of its topic, before anything is charged', async () => {
    const { gate } = await gateOn(store, {
      rules: [
        { name: 'rate', limit: '9/h', per: 'client' },
        { name: 'repeats', unchanged: 'drop' },
      ],
    })
    const passes = async (message: Message): Promise<boolean> => (await gate.check(message)).allowed
    expect(await gate.check(value('{"on":true}'))).toMatchObject({ rule: 'rate', remaining: 8 })
    expect(await gate.check(value('{"on":true}'))).toEqual({ ...EQUAL, retryAfterMs: Infinity })
    // Bytes are compared, not what they mean.
    expect(await passes(value('{"on": true}'))).toBe(true)
    expect(await passes(value('ON'))).toBe(true)
    expect(await passes(value('ON'))).toBe(false)
    expect(await passes(value(Uint8Array.of(0, 255, 1)))).toBe(true)
    expect(await passes(value(Uint8Array.of(0, 255, 1)))).toBe(false)
    expect(await passes(value(''))).toBe(true)
    expect(await passes(value(''))).toBe(false)
    expect(await passes(value('', { topic: 'u' }))).toBe(true)
    expect(await gate.check(value('ON'))).toMatchObject({ allowed: true, remaining: 2 })
    expect(gate.rules()).toEqual(['rate', 'repeats'])
  })

  it('compares with what has passed, not with what was refused', async () => {
    const { gate, clock } = await gateOn(store, {
      rules: [
        { name: 'rate', limit: '1/min', per: 'client', exceeded: 'drop' },
        { name: 'repeats', unchanged: 'drop' },
      ],
    })
    expect(await gate.check(value('off'))).toMatchObject({ allowed: true })
    for (let count = 0; count < 2; count++)
      expect(await gate.check(value('on'))).toMatchObject({ reason: 'rate_limit_exceeded' })
    expect(await gate.check(value('off'))).toMatchObject(EQUAL)
    clock.advance(60_000)
    expect(await gate.check(value('on'))).toMatchObject({ allowed: true })
    expect(await gate.check(value('on'))).toMatchObject(EQUAL)
  })

  it('lets a value pass again behind one that waits to pass', async () => {
    for (const exceeded of ['throttle', 'queue', 'latest', 'retry', 'degrade'] as const) {
      const { gate } = await gateOn(store, {
        rules: [
          { name: 'rate', limit: '1/min', per: 'client', exceeded },
          { name: 'repeats', unchanged: 'drop' },
        ],
      })
      expect(await gate.check(value('off'))).toMatchObject({ outcome: 'deliver' })
      expect(await gate.check(value('on'))).toMatchObject({ outcome: exceeded })
      expect(await gate.check(value('off'))).toMatchObject({ outcome: exceeded })
    }
  })

  it('is for some senders and messages, and records what passes of the others', async () => {
    const { gate } = await gateOn(store, {
      exempt: [{ name: 'alarms', when: { payload: { equals: 'alarm' } } }],
      rules: [
        {
          ...{ name: 'repeats', unchanged: 'drop', per: 'topic', for: { clients: ['a'] } },
          when: { not: { payload: { equals: 'beat' } } },
        },
      ],
    })
    const check = async (payload: string, client = 'a'): Promise<string> =>
      (await gate.check(value(payload, { sender: sender(client) }))).reason
    expect([await check('1'), await check('1')]).toEqual(['ok', 'unchanged'])
    expect([await check('alarm'), await check('alarm'), await check('1')]).toEqual(['exempt', 'exempt', 'ok'])
    expect([await check('beat'), await check('beat'), await check('1')]).toEqual(['ok', 'ok', 'ok'])
    expect([await check('2', 'b'), await check('2', 'b'), await check('1')]).toEqual(['ok', 'ok', 'ok'])
    expect([await check('1'), await check('2', 'b'), await check('2')]).toEqual([
      ...['unchanged', 'ok', 'unchanged'],
    ])
    const { id } = await gate.overrides.add({
      ...{ client: 'a', limit: 'unlimited', reason: 'test', for: '1h' },
    })
    expect([await check('2'), await check('3'), await check('3')]).toEqual([
      'override',
      'override',
      'override',
    ])
    await gate.overrides.remove(id)
    expect([await check('2'), await check('2')]).toEqual(['ok', 'unchanged'])
  })

  it('only reports in shadow, and explains what it would do', async () => {
    const { gate } = await gateOn(store, {
      rules: [
        { name: 'tried', unchanged: 'drop', shadow: true },
        { name: 'repeats', unchanged: 'drop', for: { clients: ['b'] } },
        { name: 'others', unchanged: 'reject', when: { retain: true } },
      ],
    })
    await gate.check(value('1'))
    expect(await gate.check(value('1'))).toMatchObject({ allowed: true, shadow: ['tried'] })
    const { unchanged, skipped, decision } = await gate.explain(value('1'))
    expect(unchanged).toEqual([{ rule: 'tried', allowed: false, shadow: true }])
    expect(skipped.map(({ rule }) => rule)).toEqual(['repeats', 'others'])
    expect(decision).toMatchObject({ allowed: true, shadow: ['tried'] })
    const other = value('1', { sender: sender('b'), topic: 'b' })
    await gate.check(other)
    expect(await gate.peek(other)).toEqual([{ ...EQUAL, retryAfterMs: Infinity, shadow: ['tried'] }])
    expect((await gate.explain(other)).decision).toMatchObject(EQUAL)
  })
})

async function gateOf(
  rule: Partial<UnchangedPayloadOptions> = {},
): Promise<{ gate: Gate; clock: FakeClock; check: (payload: string, more?: Partial<Message>) => string }> {
  const clock = new FakeClock(0)
  const gate = new Gate({ clock }).use(limit({ name: 'repeats', unchanged: 'drop', ...rule }))
  return { gate, clock, check: (payload, more) => gate.checkSync(value(payload, more)).reason }
}

describe('senders of one topic', () => {
  const b = { sender: sender('b') }

  it('do not hide what each other publish', async () => {
    const { check } = await gateOf()
    expect([check('alarm'), check('alarm', b), check('alarm'), check('alarm', b)]).toEqual([
      ...['ok', 'ok', 'unchanged', 'unchanged'],
    ])
    // The alarm of `a` is not hidden by its own earlier one once `b` has published something else.
    expect([check('fine', b), check('alarm'), check('fine', b)]).toEqual(['ok', 'ok', 'ok'])
  })

  it('are compared with each other by `per: topic`', async () => {
    for (const per of ['topic', 'global', ['topic', 'pattern']]) {
      const { check } = await gateOf({ per })
      expect([check('1'), check('1', b), check('2', b), check('1')]).toEqual([
        ...['ok', 'unchanged', 'ok', 'ok'],
      ])
    }
  })

  it('that are not known are not compared, unless it is by topic', async () => {
    const nobody = { sender: {} }
    const { check } = await gateOf()
    expect([check('1', nobody), check('1', nobody), check('1'), check('1')]).toEqual([
      ...['ok', 'ok', 'ok', 'unchanged'],
    ])
    const byTopic = await gateOf({ per: 'topic' })
    expect([byTopic.check('1', nobody), byTopic.check('1', nobody)]).toEqual(['ok', 'unchanged'])
  })
})

describe('an unchanged payload', () => {
  it('passes again after `upTo`, counted from when it passed', async () => {
    const { gate, clock, check } = await gateOf({ upTo: '10m' })
    expect(check('1')).toBe('ok')
    clock.advance(540_000)
    expect(gate.checkSync(value('1'))).toEqual({ ...EQUAL, retryAfterMs: 60_000 })
    clock.advance(59_999)
    expect(check('1')).toBe('unchanged')
    clock.advance(1)
    expect([check('1'), check('1')]).toEqual(['ok', 'unchanged'])
    clock.advance(599_999)
    expect(check('1')).toBe('unchanged')
  })

  it('passes if it may be a second delivery, and is recorded', async () => {
    const { check } = await gateOf()
    const duplicate = { duplicate: true }
    expect([check('1'), check('1', duplicate), check('2'), check('1', duplicate), check('2')]).toEqual([
      ...['ok', 'ok', 'ok', 'ok', 'ok'],
    ])
    expect(check('2')).toBe('unchanged')
  })

  it('passes with another retain flag, and after the retained message was removed', async () => {
    const { check } = await gateOf()
    const retain = { retain: true }
    const clear = { retain: true, sender: sender('b') }
    expect([check('1'), check('1', retain), check('1', retain)]).toEqual(['ok', 'ok', 'unchanged'])
    expect([check('', clear), check('', clear), check('', retain)]).toEqual(['ok', 'ok', 'ok'])
    expect([check('1', retain), check('1', retain)]).toEqual(['ok', 'unchanged'])
  })

  it('passes if it cannot be read, and so does the next', async () => {
    const { check } = await gateOf()
    const unreadable = { bytes: () => undefined }
    expect([check('1'), check('1', unreadable), check('1', unreadable)]).toEqual(['ok', 'ok', 'ok'])
    expect([check('1'), check('1')]).toEqual(['ok', 'unchanged'])
  })

  it('passes if the message before was not delivered', async () => {
    const { gate, check } = await gateOf()
    check('1')
    gate.forgetPayload(value('1'))
    expect([check('1'), check('1')]).toEqual(['ok', 'unchanged'])
    await expect(
      gate.run(value('2'), () => {
        throw new Error('handler')
      }),
    ).rejects.toThrow('handler')
    expect((await gate.run(value('2'), () => 1)).ran).toBe(true)
    expect((await gate.run(value('2'), () => 1)).ran).toBe(false)
    expect(await gate.reset({ rule: 'repeats' })).toBe(2)
    expect(check('2')).toBe('ok')
  })

  it('is no offence', async () => {
    const clock = new FakeClock(0)
    const gate = await Gate.fromPolicy(
      {
        behaviour: {},
        penalties: { after: '3 refusals in 10s', block: '1h' },
        rules: [{ name: 'repeats', unchanged: 'drop' }],
      },
      { clock },
    )
    for (let count = 0; count < 300; count++) gate.checkSync(value('1'))
    expect(gate.checkSync(value('2'))).toMatchObject({ allowed: true })
    expect(gate.bans.list()).toEqual([])
    await gate.close()
  })
})

describe('a decision that comes later', () => {
  /** A gate whose decisions about `t` come when they are released. */
  function slowGate(): { gate: Gate; release: (index: number, outcome?: 'drop') => void } {
    const pending: ((value?: 'drop') => void)[] = []
    const gate = new Gate({ clock: new FakeClock(0) }).use(
      limit({ name: 'repeats', unchanged: 'drop' }),
      async (_message, next) => {
        const outcome = await new Promise<'drop' | undefined>(resolve => pending.push(resolve))
        return outcome === undefined ? next() : { ...PASSED, allowed: false, outcome }
      },
    )
    return { gate, release: (index, outcome) => pending[index]!(outcome) }
  }

  it('leaves the last payload unknown until then', async () => {
    const { gate, release } = slowGate()
    const first = gate.check(value('1'))
    release(0)
    await first
    const other = gate.check(value('2'))
    const again = gate.check(value('1'))
    expect([other, again].every(answer => answer instanceof Promise)).toBe(true)
    // The later message was decided first: nobody knows which is delivered last.
    release(2)
    expect(await again).toMatchObject({ allowed: true })
    release(1)
    expect(await other).toMatchObject({ allowed: true })
    for (const payload of ['2', '1']) expect(gate.check(value(payload))).toBeInstanceOf(Promise)
  })

  it('that is a refusal leaves the last payload as it was', async () => {
    const { gate, release } = slowGate()
    const first = gate.check(value('1'))
    release(0)
    await first
    const other = gate.check(value('2'))
    release(1, 'drop')
    await other
    expect(gate.check(value('1'))).toMatchObject(EQUAL)
  })

  it('after the fallback has answered is not recorded', async () => {
    const clock = new FakeClock(0)
    const { gate, release } = slowGate()
    const guard = new Guard(
      Object.assign(Object.create(gate), {
        clock,
        check: gate.check.bind(gate),
        ruleOf: gate.ruleOf.bind(gate),
        on: gate.on.bind(gate),
        off: gate.off.bind(gate),
        forgetPayload: gate.forgetPayload.bind(gate),
      }),
      { decideTimeoutMs: 1_000 },
    )
    const asked = guard.ask(value('1'))
    clock.advance(1_000)
    expect(await asked).toMatchObject({ fallback: true })
    release(0)
    await new Promise(resolve => setImmediate(resolve))
    expect(gate.check(value('1'))).toBeInstanceOf(Promise)
    guard.close()
  })
})

describe('a reload', () => {
  const policy = (rule: object): object => ({
    rules: [
      { name: 'repeats', unchanged: 'drop', ...rule },
      { name: 'rate', limit: '100/h' },
    ],
  })
  const reason = (gate: Gate): string => gate.checkSync(value('1')).reason

  it('keeps payloads of a rule of the same name, topic and scope, and forgets those of others', async () => {
    const gate = await Gate.fromPolicy(policy({}), { clock: new FakeClock(0) })
    expect([reason(gate), reason(gate)]).toEqual(['ok', 'unchanged'])
    await gate.apply(policy({ upTo: '1h' }))
    expect(reason(gate)).toBe('unchanged')
    for (const other of [{ per: 'user' }, { name: 'other' }, { topic: 'u' }, { enabled: false }]) {
      await gate.apply(policy(other))
      expect(reason(gate)).toBe('ok')
      await gate.apply(policy({}))
      expect([reason(gate), reason(gate)]).toEqual(['ok', 'unchanged'])
    }
    await gate.close()
  })

  it('starts anew with a new process', async () => {
    const store = new MemoryStore({ clock: new FakeClock(0) })
    for (let start = 0; start < 2; start++) {
      const gate = await Gate.fromPolicy(policy({}), { clock: new FakeClock(0), store })
      expect([reason(gate), reason(gate)]).toEqual(['ok', 'unchanged'])
      await gate.close()
    }
    await store.close()
  })
})

describe('the memory of payloads', () => {
  it('is bounded in keys, and forgets those unused for the longest', () => {
    const { unchanged } = compileUnchangedRule({ name: 'repeats', unchanged: 'drop', per: 'topic' })
    const rules: UnchangedRuleInPlan[] = [{ rule: unchanged, pattern: undefined, isAsked: true }]
    const payloads = new LastPayloads()
    const record = (topic: string): void =>
      payloads.record(rules, value('1', { topic }), {}, PASSED, 0, false)
    const isKnown = (topic: string): boolean =>
      payloads.waitOf(rules[0]!, value('1', { topic }), {}, 0) !== undefined
    for (let index = 0; index < MAX_SIZES.lastPayloads; index++) record(`t/${index}`)
    expect(payloads.size).toBe(MAX_SIZES.lastPayloads)
    record('t/0')
    for (let index = 0; index < 10; index++) record(`u/${index}`)
    expect(payloads.size).toBe(MAX_SIZES.lastPayloads)
    expect(['t/0', 't/1', 't/10', 't/11', 'u/9'].map(isKnown)).toEqual([true, false, false, true, true])
  })

  it('tells large payloads apart by their last byte', () => {
    const gate = new Gate({ clock: new FakeClock(0) }).use(limit({ name: 'repeats', unchanged: 'drop' }))
    const payload = 'x'.repeat(1_000_000)
    expect(gate.checkSync(value(payload)).allowed).toBe(true)
    expect(gate.checkSync(value(`${payload.slice(1)}y`)).allowed).toBe(true)
    expect(gate.checkSync(value(`${payload.slice(1)}y`)).allowed).toBe(false)
  })
})

describe('a rule against repeated payloads that cannot be', () => {
  it.each([
    [{ unchanged: 'throttle' }, 'unchanged: "throttle" is not possible here (use one of drop, reject)'],
    [{ on: 'deliver' }, 'on: `unchanged` compares what is published, not a deliver (remove `on`)'],
    [{ on: 'connect' }, 'on: `unchanged` compares what is published, not a connect (remove `on`)'],
    [{ upTo: 'soon' }, /^upTo: "soon" is not a duration/],
    [{ exceeded: 'drop' }, 'exceeded: the outcome is the value of `unchanged` (write unchanged: drop)'],
    [{ name: '' }, /^name: a rule needs a name/],
    [{ penalties: { block: '1h' } }, /there is no option `penalties`/],
  ] as const)('%j is refused', (wrong, message) => {
    const make = (): unknown =>
      limit({ name: 'repeats', unchanged: 'drop', ...wrong } as unknown as UnchangedPayloadOptions)
    expect(make).toThrow(PolicyError)
    expect(make).toThrow(message)
  })

  it('has a name of its own and scopes that exist', () => {
    const rule = limit({ name: 'repeats', unchanged: 'drop' })
    const gate = new Gate().use(rule)
    for (const other of [
      limit({ name: 'repeats', limit: '1/s' }),
      limit({ name: 'repeats', maxSize: 1 }),
      limit({ name: 'repeats', unchanged: 'drop' }),
    ])
      expect(() => gate.use(other)).toThrow('two rules are called "repeats"')
    expect(() => gate.use(limit({ name: 'b', unchanged: 'drop', per: 'site' }))).toThrow('neither a scope')
  })
})
