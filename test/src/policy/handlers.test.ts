import { afterEach, describe, expect, it } from 'vitest'
import { limitBroker } from '../../../brokers/aedes/index.ts'
import { type Decision, Gate, type Message, type Sender, UnsupportedError } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const gates: Gate[] = []
afterEach(async () => {
  for (const gate of gates.splice(0)) await gate.close()
})

function message(topic: string, sender: Sender = { client: 'c' }): Message {
  return { topic, on: 'publish', sender, size: 1 }
}

class Scene {
  readonly clock: FakeClock
  readonly gate: Gate

  private constructor(gate: Gate, clock: FakeClock) {
    this.gate = gate
    this.clock = clock
  }

  static async of(policy: object): Promise<Scene> {
    const clock = new FakeClock()
    const gate = await Gate.fromPolicy({ version: 1, ...policy }, { clock })
    gates.push(gate)
    return new Scene(gate, clock)
  }

  check(topic = 'orders/a/1', sender?: Sender): Decision {
    return this.gate.check(message(topic, sender)) as Decision
  }

  tell(count: number, ok: boolean, topic = 'orders/a/1', durationMs = 1): this {
    for (let n = 0; n < count; n++) this.gate.handlerMonitor.record(message(topic), { durationMs, ok })
    return this
  }
}

describe('the word `breaker` of a policy', () => {
  it('opens for one key of many, answers as it says, and closes after a try', async () => {
    const breaker = { topic: 'orders/{tenant}/#', per: 'tenant', failures: '50%', over: '10s', least: 10 }
    const scene = await Scene.of({ breaker: { ...breaker, open: '5s', exceeded: 'drop' } })
    scene.tell(10, false)
    expect(scene.check().allowed).toBe(true)
    scene.tell(1, false, 'orders/a/2')
    expect(scene.check('orders/a/3')).toEqual({
      ...{ allowed: false, outcome: 'drop', reason: 'handler_failing', rule: 'breaker' },
      retryAfterMs: 5_000,
    })
    expect(scene.check('orders/b/1').allowed).toBe(true)
    expect(scene.check('else').allowed).toBe(true)
    scene.clock.advance(5_000)
    expect([scene.check().allowed, scene.check().allowed]).toEqual([true, false])
    scene.tell(1, true)
    expect([scene.check().allowed, scene.check().allowed]).toEqual([true, true])
  })

  it('goes by the sender the policy makes of a message', async () => {
    const scene = await Scene.of({
      senders: { device: '{topic.device}' },
      breaker: { topic: 'fleet/{device}/#', per: 'device', least: 1 },
      rules: [{ name: 'all', topic: 'fleet/{device}/#', limit: '1000/s' }],
    })
    scene.tell(2, false, 'fleet/d1/x')
    expect(scene.check('fleet/d1/y').rule).toBe('breaker')
    expect(scene.check('fleet/d2/y').allowed).toBe(true)
  })

  it('lets exempt messages pass, and charges no limit while it is open', async () => {
    const scene = await Scene.of({
      exempt: [{ name: 'ops', clients: ['ops'] }],
      breaker: { per: 'global', least: 1, open: '1s' },
      rules: [{ name: 'all', limit: '3/h' }],
    })
    scene.tell(2, false)
    expect(scene.check('t', { client: 'ops' }).reason).toBe('exempt')
    for (let n = 0; n < 9; n++) expect(scene.check().rule).toBe('breaker')
    scene.clock.advance(1_000)
    expect(scene.check()).toMatchObject({ allowed: true, rule: 'all', remaining: 2 })
  })
})

describe('the word `feedback` of a policy', () => {
  it.each(['aimd', 'gradient'] as const)('sets the rate by %s, within its bounds', async by => {
    const feedback = { by, latency: '100ms', from: '5/s', upTo: '50/s', start: '20/s', every: '1s' }
    const scene = await Scene.of({ feedback: { ...feedback, exceeded: 'throttle' } })
    const admitted = (durationMs: number): number => {
      let count = 0
      for (let ms = 0; ms < 1_000; ms++) {
        scene.clock.advance(1)
        if (!scene.check().allowed) continue
        count++
        scene.tell(1, true, 'orders/a/1', durationMs)
      }
      return count
    }
    expect(admitted(1)).toBe(20)
    for (let second = 0; second < 60; second++) admitted(1)
    // What is in force at most; the tokens are whole, the milliseconds too.
    expect(admitted(1)).toBe(50)
    for (let second = 0; second < 60; second++) admitted(1_000)
    expect(admitted(1_000)).toBe(5)
    expect(scene.check()).toMatchObject({ outcome: 'throttle', rule: 'feedback' })
  })

  it('goes on where it stood when the policy is loaded again with the same words', async () => {
    const policy = { feedback: { start: '100/s', upTo: '100/s' }, breaker: { least: 1 } }
    const scene = await Scene.of(policy)
    scene.clock.advance(200)
    scene.tell(2, false).tell(8, false, 'other', 500)
    scene.clock.advance(200)
    scene.tell(1, true, 'more')
    const says = async (): Promise<readonly string[]> =>
      (await scene.gate.explain(message('orders/a/1'))).handlers.map(each => each.description)
    const before = await says()
    expect(before[0]).toBe('is answered retry: open for "orders/a/1", 2 of 2 failed')
    // One done in 200 ms, and most of them late or failed: 0.9 of what got done.
    expect(before[1]).toBe('passes: the handler is given 4.5 a second')
    await scene.gate.apply({ version: 1, ...policy, rules: [{ name: 'new', limit: '10/s' }] })
    expect(await says()).toEqual(before)
    await scene.gate.apply({ version: 1, feedback: { start: '50/s', upTo: '100/s' } })
    expect(await says()).toEqual(['passes: the handler is given 50 a second'])
    expect(scene.gate.handlerMonitor.isUsed).toBe(true)
    await scene.gate.apply({ version: 1, rules: [] })
    expect(scene.gate.handlerMonitor.isUsed).toBe(false)
  })

  it('is refused where there is no handler to tell of', async () => {
    const { gate } = await Scene.of({ feedback: {}, breaker: { exceeded: 'drop' } })
    const { Aedes } = await import('aedes')
    const broker = await Aedes.createBroker()
    try {
      expect(() => limitBroker(broker, gate)).toThrow(UnsupportedError)
      expect(() => limitBroker(broker, gate)).toThrow(
        'aedes cannot supply "breaker" with handler results, as a broker has no handlers (use the policy in a NATS or MQTT consumer)\n' +
          'aedes cannot supply "feedback" with handler results',
      )
    } finally {
      await new Promise<void>(resolve => broker.close(() => resolve()))
    }
  })
})
