import { describe, expect, it } from 'vitest'
import { type CustomAlgorithm, defineAlgorithm } from '../../../src/algorithms/index.ts'
import { PolicyError } from '../../../src/core/errors.ts'
import type { Message } from '../../../src/core/message.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { FakeClock } from '../../support/fake-clock.ts'

/** Lets `capacity` pass, once and for all of a period. */
const once = defineAlgorithm({
  name: 'once',
  step(state, nowMs, cost, { capacity, periodMs }) {
    const [endMs = nowMs + periodMs, used = 0] = state === undefined || state[0]! <= nowMs ? [] : state
    const allowed = used + cost <= capacity
    const remaining = capacity - used - (allowed ? cost : 0)
    const resetMs = endMs - nowMs
    const retryAfterMs = allowed ? 0 : cost > capacity ? Infinity : resetMs
    return { state: [endMs, used + cost], allowed, remaining, retryAfterMs, resetMs, expireInMs: resetMs }
  },
})

const message: Message = { topic: 'a', on: 'publish', sender: { client: 'c1' }, size: 0 }
const policy = { rules: [{ name: 'mine', limit: '10/s', burst: 2, algorithm: 'once' }] }

describe('a policy', () => {
  it('names an algorithm that the gate was given, also when it changes', async () => {
    const gate = await Gate.fromPolicy(policy, { clock: new FakeClock(), algorithms: [once] })
    expect(gate.check(message)).toMatchObject({ allowed: true, rule: 'mine', remaining: 1, limit: 2 })
    await gate.apply({ rules: [{ ...policy.rules[0], burst: 4 }] })
    expect(gate.check(message)).toMatchObject({ allowed: true, remaining: 2, limit: 4 })
    await gate.close()
  })

  it('that names one nobody gave is refused, with its place and all names there are', async () => {
    const text = 'rules:\n  - name: a\n    limit: 10/s\n    algorithm: onces\n'
    const place = '4:16: rules[0].algorithm: "onces" is not an algorithm'
    const builtIn = 'token-bucket, leaky-bucket, fixed-window, sliding-log, sliding-counter'
    const other = { ...once, name: 'another' }
    await expect(Gate.fromPolicy(text)).rejects.toThrow(`${place} (use one of ${builtIn})`)
    await expect(Gate.fromPolicy(text, { algorithms: [once, other] })).rejects.toThrow(
      `${place} (did you mean once? use one of ${builtIn}, once, another)`,
    )
    await expect(Gate.fromPolicy(text.replace('onces', '[1]'))).rejects.toThrow('a list is not an algorithm')
    await expect(Gate.fromPolicy(text.replace('onces', 'quota'))).rejects.toThrow(
      '"quota" is not an algorithm',
    )
    await expect(Gate.fromPolicy(text.replace('onces', '__proto__'))).rejects.toThrow('is not an algorithm')
  })

  it('is not read with algorithms that cannot be used', async () => {
    for (const [algorithms, says] of [
      [[once, { ...once }], 'algorithms[1]: two algorithms are named "once"'],
      [[{ ...once, name: 'quota' }], 'algorithms[0].algorithm: there is an algorithm "quota" already'],
      [[{ name: 'mine' } as CustomAlgorithm], 'has no step'],
    ] as const) {
      const refused = Gate.fromPolicy(policy, { algorithms })
      await expect(refused).rejects.toThrow(PolicyError)
      await expect(refused).rejects.toThrow(says)
    }
  })
})
