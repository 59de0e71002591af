import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { NatsMessage } from '../../brokers/nats/index.ts'
import { limit } from '../../src/index.ts'
import { GENERATIONS } from '../brokers/nats/client-versions.ts'
import { natsGate, Scene } from '../brokers/nats/scene.ts'
import { type NatsServer, startNats } from '../support/nats.ts'
import { until } from '../support/wait.ts'

/*
 * Ten tenants with 100 messages a second each. Nine send 50 a second, one 400. Delays are counted from the publish,
 * which the payload tells, on one machine and one clock.
 */
const RATE = 100
const QUIET_PER_SECOND = 50
const NOISY_PER_SECOND = 400
const SECONDS = 10

let server: NatsServer
beforeAll(async () => {
  server = await startNats({ jetstream: true })
})
afterAll(() => server.stop())

const at = (values: readonly number[], share: number): number =>
  values.toSorted((a, b) => a - b)[Math.ceil(values.length * share) - 1]!

/** What one subscriber saw: delays of the quiet tenants, and how many of the noisy one came. */
class Watch {
  readonly quietMs: number[] = []
  noisy = 0

  /** The 99th percentile of each second, of which the middle one: a stall of the machine is not all seconds'. */
  get quietP99Ms(): number {
    const perSecond = 9 * QUIET_PER_SECOND
    const seconds = Array.from({ length: SECONDS }, (_, second) =>
      at(this.quietMs.slice(second * perSecond, (second + 1) * perSecond), 0.99),
    )
    return at(seconds, 0.5)
  }

  see({ subject, data }: NatsMessage): void {
    if (subject.endsWith('.noisy')) this.noisy++
    else this.quietMs.push(performance.now() - Number(Buffer.from(data).toString()))
  }
}

/** Sends under such a name for so long; answers how many messages of quiet tenants. */
async function send({ sender }: Scene, name: string): Promise<number> {
  const startMs = performance.now()
  let quiet = 0
  let noisy = 0
  while (performance.now() - startMs < SECONDS * 1_000) {
    const elapsedS = (performance.now() - startMs) / 1_000
    for (; noisy < elapsedS * NOISY_PER_SECOND; noisy++) {
      sender.publish(`${name}.noisy`, Buffer.from(String(performance.now())))
    }
    for (; quiet < elapsedS * QUIET_PER_SECOND; quiet++) {
      for (let tenant = 0; tenant < 9; tenant++) {
        sender.publish(`${name}.quiet-${tenant}`, Buffer.from(String(performance.now())))
      }
    }
    await new Promise(resolve => setTimeout(resolve, 2))
  }
  return quiet * 9
}

/** No quiet tenant waits twice as long as without limits; the noisy one gets its rate. */
function expectFair(limited: Watch, noisy: number, bare: Watch): void {
  // Below two milliseconds there is only the noise of timers.
  expect(limited.quietP99Ms).toBeLessThanOrEqual(2 * Math.max(2, bare.quietP99Ms))
  const expected = RATE * SECONDS
  expect(noisy).toBeGreaterThanOrEqual(expected * 0.95)
  expect(noisy).toBeLessThanOrEqual(expected * 1.05)
}

describe.each(GENERATIONS)('ten tenants behind $name', generation => {
  it('get their rate each; a noisy one delays nobody but itself', async () => {
    await using scene = await Scene.open(generation, server)
    // Beside it one without limits, so that a busy machine slows both down.
    await using other = await Scene.open(generation, server)
    const bare = new Watch()
    other.nc.subscribe('load.>', { callback: (_error, message) => bare.see(message) })
    const limits = scene.limit(
      natsGate(limit({ name: 'tenant', rate: `${RATE}/s burst 10`, per: 'topic', exceeded: 'throttle' })),
      { maxHeldPerSender: 10_000 },
    )
    const limited = new Watch()
    limits.subscribe(scene.nc, 'load.>', { callback: message => limited.see(message) })
    await scene.nc.flush()
    await other.nc.flush()
    const quiet = await send(scene, 'load')
    const { noisy } = limited
    await until(() => limited.quietMs.length === quiet && bare.quietMs.length === quiet)
    expectFair(limited, noisy, bare)
    expect(limits.stats()).toMatchObject({ dropped: 0, overflowed: 0 })
  })

  it('get their rate each of a pull consumer, too, each message delivered once', async () => {
    await using scene = await Scene.open(generation, server)
    await using other = await Scene.open(generation, server)
    const name = generation.name === 'nats 2' ? 'two' : 'three'
    await scene.js.addStream(name, [`${name}.>`])
    const consumer = (durable: string, { js }: Scene) => js.addConsumer(name, durable)
    const bare = new Watch()
    const unlimited = await (await consumer('bare', other)).consume({
      callback: message => {
        message.ack()
        bare.see(message)
      },
    })
    const limits = scene.limit(
      natsGate(limit({ name: 'tenant', rate: `${RATE}/s burst 10`, per: 'topic', exceeded: 'throttle' })),
      { maxHeldPerSender: 10_000 },
    )
    const limited = new Watch()
    await limits.consume(await consumer('limited', scene), message => limited.see(message))
    const quiet = await send(scene, name)
    const { noisy } = limited
    await until(() => limited.quietMs.length === quiet && bare.quietMs.length === quiet)
    expectFair(limited, noisy, bare)
    // What is held is kept alive, not sent back.
    expect(limits.stats()).toMatchObject({ dropped: 0, overflowed: 0, sentBack: 0, redelivered: 0 })
    expect((await scene.js.state(name, 'limited')).num_redelivered).toBe(0)
    await unlimited.close()
  })
})
