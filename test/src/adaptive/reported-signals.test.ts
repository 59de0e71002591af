import { afterEach, describe, expect, it } from 'vitest'
import { type Adaptive, type AdaptiveOptions, adaptive } from '../../../src/adaptive/index.ts'
import { Gate, limit, type Message } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const EVERY_MS = 10_000
const SENT: Message = { topic: 't', on: 'publish', sender: { client: 'c' }, size: 1 }

/** A gate that goes by what brokers tell. */
class Scene {
  readonly clock = new FakeClock()
  readonly warnings: unknown[] = []
  readonly gate: Gate
  readonly scale: Adaptive

  constructor(options: AdaptiveOptions) {
    const ignore = (): void => {}
    const warn = ({ err }: { err?: Error }): void => void this.warnings.push(err?.message)
    this.gate = new Gate({
      clock: this.clock,
      logger: { debug: ignore, info: ignore, error: ignore, warn: context => warn(context) },
    })
    this.scale = adaptive({ everyMs: EVERY_MS, ...options })
    this.gate.use(this.scale, limit({ name: 'all', rate: '100/s' }))
    gates.push(this.gate)
  }

  /** Starts to measure, or lets so many intervals pass; then what is read. */
  read(intervals = 1): Readonly<Record<string, number>> {
    this.gate.check(SENT)
    this.clock.advance(intervals * EVERY_MS)
    return this.scale.report().signals
  }

  handle(ok: number, failed: number): void {
    for (let count = 0; count < ok + failed; count++)
      this.gate.handlerMonitor.record(SENT, { durationMs: 1, ok: count < ok })
  }
}

const gates: Gate[] = []
afterEach(async () => {
  for (const gate of gates.splice(0)) await gate.close()
})

describe('signals reported by brokers', () => {
  it('sum the waiting messages of all sources, and forget detached ones', () => {
    const scene = new Scene({ signals: ['queue-depth'] })
    const ends = [400, 500].map(held => scene.gate.loadSources.add({ queueDepth: () => held }))
    expect(scene.read()).toEqual({ 'queue-depth': 900 })
    expect(scene.scale.report()).toMatchObject({ load: 0.9, scaled: { factor: 0.5, reason: 'load high' } })
    ends[1]!()
    expect(scene.read()).toEqual({ 'queue-depth': 400 })
    expect(scene.warnings).toEqual([])
  })

  it('use the largest consumer lag, as a share of the given full value', () => {
    const scene = new Scene({ signals: [{ 'consumer-lag': 2_000 }] })
    for (const lag of [100, 1_500, undefined]) scene.gate.loadSources.add({ consumerLag: () => lag })
    expect(scene.read()).toEqual({ 'consumer-lag': 1_500 })
    expect(scene.scale.report().load).toBe(0.75)
  })

  it('use the share of handlers that failed since the last reading, of ten or more', () => {
    const scene = new Scene({ signals: ['cpu', 'error-rate'], stages: 'default' })
    scene.gate.loadSources.add({ handlers: true })
    scene.handle(0, 50)
    scene.read()
    // Nobody listened before the first message.
    expect(scene.scale.report().signals['error-rate']).toBe(0)
    scene.handle(17, 3)
    expect(scene.read()['error-rate']).toBe(0.15)
    scene.handle(0, 9)
    expect(scene.read()['error-rate']).toBe(0)
    expect(scene.gate.handlerMonitor.isUsed).toBe(true)
  })

  it('have the documented default stages: error rate above 10 %, more than 1000 waiting', () => {
    const scene = new Scene({
      stages: { 'error-rate': { '10%': 0.5 }, 'queue-depth': { 1000: 0.6 } },
      signals: ['queue-depth', 'error-rate'],
    })
    let held = 1_000
    scene.gate.loadSources.add({ queueDepth: () => held, handlers: true })
    scene.read()
    expect(scene.scale.report().scaled).toBeUndefined()
    held = 1_001
    scene.read()
    expect(scene.scale.report().scaled).toEqual({ factor: 0.6, reason: 'queue-depth above 1000' })
    scene.handle(89, 11)
    scene.read()
    expect(scene.scale.report().scaled).toEqual({ factor: 0.5, reason: 'error-rate above 10%' })
  })

  it('belong to `stages: default` if a source reports them, and are left out silently otherwise', () => {
    const silent = new Scene({ stages: 'default' })
    silent.read(3)
    expect(Object.keys(silent.scale.report().signals)).not.toContain('queue-depth')
    expect([silent.warnings, silent.scale.report().broken]).toEqual([[], {}])
    const scene = new Scene({ stages: 'default' })
    scene.gate.loadSources.add({ queueDepth: () => 5_000, handlers: true })
    expect(scene.read()).toMatchObject({ 'queue-depth': 5_000, 'error-rate': 0 })
    // For their stages, not for the levels of the load: whoever floods fills the queue.
    const { cpu = 0, memory = 0, 'event-loop': eventLoop = 0 } = scene.scale.report().signals
    expect(scene.scale.report().load).toBe(Math.max(cpu, memory, eventLoop))
  })

  it('without a source are logged once, counted, and reduce nothing', () => {
    const scene = new Scene({ signals: ['queue-depth', 'error-rate', 'consumer-lag'] })
    scene.read(3)
    expect(scene.warnings).toEqual([
      'the signal queue-depth has no source: attach a limited broker or consumer, which reports it',
      'the signal error-rate has no source: attach a limited consumer, which reports it',
      'the signal consumer-lag has no source: attach a limited JetStream consumer, which reports it',
    ])
    const broken = { 'queue-depth': 3, 'error-rate': 3, 'consumer-lag': 3 }
    expect(scene.scale.report()).toMatchObject({ broken, signals: {}, scaled: undefined, changes: 0 })
    scene.gate.loadSources.add({ queueDepth: () => 800 })
    expect(scene.read()).toEqual({ 'queue-depth': 800 })
  })

  it('end with the gate', async () => {
    const scene = new Scene({ signals: ['error-rate'] })
    scene.read()
    expect(scene.gate.handlerMonitor.isUsed).toBe(true)
    await scene.gate.close()
    expect(scene.gate.handlerMonitor.isUsed).toBe(false)
  })

  it.each([
    [{ 'queue-depth': 0 }, /full: 0 is not a load/],
    [{ 'queue-depth': Number.NaN }, /full: NaN is not a load/],
    [{ 'error-rate': 5 }, /is not a signal/],
    [{ 'queue-depth': 1, 'consumer-lag': 1 }, /is not a signal/],
    [{}, /is not a signal/],
  ])('cannot be %o', (word, message) => {
    expect(() => adaptive({ signals: [word as never] })).toThrow(message)
  })
})
