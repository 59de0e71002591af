import { describe, expect, it } from 'vitest'
import { limitConsumer } from '../../../brokers/mqtt/index.ts'
import { Gate, limit } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { connectClient } from '../../support/mqtt-client.ts'
import { until } from '../../support/wait.ts'
import { openScene } from './harness.ts'

const WAYS = ([4, 5] as const).flatMap(version =>
  ([0, 1, 2] as const).flatMap(qos =>
    [false, true].map(isPublic => ({
      version,
      qos,
      isPublic,
      name: `MQTT ${version === 4 ? '3.1.1' : '5'}, QoS ${qos}${isPublic ? ', by the public API alone' : ''}`,
    })),
  ),
)
const NEVER = '1 per 1000s'

describe.each(WAYS)('$name', ({ version, qos, isPublic }) => {
  it('hands on what passes, in order, and drops the rest, acknowledged', async () => {
    const rules = [limit({ name: 'r', rate: `${NEVER} burst 5`, exceeded: 'drop' })]
    await using scene = await openScene({ version, qos, isPublic, rules })
    await scene.publish(12)
    // At QoS 2 a message is handed on a round trip after it has come.
    await until(() => scene.limits.stats().delivered === 5 && scene.limits.stats().dropped === 7)
    expect(scene.handled.map(({ text }) => text)).toEqual(['0', '1', '2', '3', '4'])
    expect(scene.limits.stats()).toMatchObject({ delivered: 5, dropped: 7, rejected: 0, held: 0 })
    // What was not acknowledged would come again on another connection.
    expect(Object.keys(scene.consumer.client.outgoing)).toEqual([])
  })

  it('rejects with 0x97 where the protocol has a word for it, else drops', async () => {
    const rules = [limit({ name: 'r', rate: NEVER, exceeded: 'reject' })]
    await using scene = await openScene({ version, qos, isPublic, rules })
    const codes: unknown[] = []
    scene.consumer.client.on('packetsend', packet => {
      if (packet.cmd === 'puback' || packet.cmd === 'pubrec') codes.push(packet.reasonCode ?? 0)
    })
    await scene.publish(4)
    await until(() => scene.limits.stats().received === 4 && scene.handled.length === 1)
    const told = version === 5 && qos > 0
    expect(scene.limits.stats()).toMatchObject({
      delivered: 1,
      rejected: told ? 3 : 0,
      dropped: told ? 0 : 3,
    })
    // What is written to the socket is no packet that the client sends.
    if (told && (!isPublic || qos === 2)) expect(codes).toEqual([0, 0x97, 0x97, 0x97])
    expect(scene.handled).toHaveLength(1)
    // A refusal leaves the way free for what comes then.
    await scene.gate.reset()
    await scene.publish(1, { text: () => 'later' })
    await until(() => scene.handled.length === 2)
    expect(scene.handled[1]?.text).toBe('later')
  })

  it('throttles in order, and nothing is lost', async () => {
    const rules = [limit({ name: 'r', rate: '100/s burst 1', exceeded: 'throttle' })]
    const clock = new FakeClock()
    await using scene = await openScene({ version, qos, isPublic, rules, clock })
    const sinceMs = clock.now()
    await scene.publish(30)
    const advance = (): boolean => {
      clock.advance(10)
      return scene.handled.length === 30
    }
    await until(advance, { everyMs: 1 })
    expect(clock.now() - sinceMs).toBeGreaterThanOrEqual(290)
    expect(scene.handled.map(({ text }) => Number(text))).toEqual(Array.from({ length: 30 }, (_, n) => n))
    // One at a time: the rest has stayed with the client's reader and the broker.
    expect(scene.limits.stats()).toMatchObject({ delivered: 30, heldPeak: 1, dropped: 0 })
  })

  it('acknowledges what it queues and delivers it at the rate', async () => {
    const rules = [limit({ name: 'r', rate: '100/s burst 1', exceeded: { queue: { order: 'arrival' } } })]
    const clock = new FakeClock()
    await using scene = await openScene({ version, qos, isPublic, rules, clock })
    await scene.publish(30)
    await until(() => scene.limits.stats().received === 30)
    expect(scene.limits.stats().heldPeak).toBe(29)
    clock.advance(280)
    expect(scene.handled.length).toBeLessThan(30)
    clock.advance(10)
    await until(() => scene.handled.length === 30)
    expect(scene.handled.map(({ text }) => Number(text))).toEqual(Array.from({ length: 30 }, (_, n) => n))
  })

  it('keeps the newest of each topic', async () => {
    const rules = [limit({ name: 'r', rate: NEVER, per: 'topic', exceeded: 'latest' })]
    const clock = new FakeClock()
    await using scene = await openScene({ version, qos, isPublic, rules, clock })
    await scene.publish(20)
    await until(() => scene.limits.stats().received === 20)
    clock.advance(1_000_000)
    await until(() => scene.handled.length === 2)
    expect(scene.handled.map(({ text }) => text)).toEqual(['0', '19'])
    expect(scene.limits.stats()).toMatchObject({ received: 20, superseded: 18, dropped: 0, held: 0 })
  })

  it('redirects by the second client before it acknowledges', async () => {
    const rules = [limit({ name: 'r', rate: NEVER, exceeded: { redirect: { to: 'dead/{topic}' } } })]
    const broker = await openScene({ version, qos, isPublic, rules: [] })
    await using _ = broker
    await using second = await connectClient({
      port: broker.port,
      protocolVersion: version,
      clientId: 'second',
    })
    await using watcher = await connectClient({
      port: broker.port,
      protocolVersion: version,
      clientId: 'watch',
    })
    await watcher.subscribe('dead/#', 1)
    broker.limits.close()
    const limits = limitConsumer(broker.consumer.client, new Gate().use(...rules), {
      handler: () => {},
      deadLetter: second.client,
    })
    await broker.publish(4)
    const dead = await watcher.received(3)
    expect(dead.map(({ topic, text }) => `${topic} ${text}`)).toEqual([
      'dead/in/a 1',
      'dead/in/a 2',
      'dead/in/a 3',
    ])
    await until(() => limits.stats().redirected === 3)
    if (version === 5) {
      expect(dead[0]?.packet.properties?.userProperties).toMatchObject({
        'topicgate-redirected-from': 'in/a',
        'topicgate-reason': 'rate_limit_exceeded',
        'topicgate-rule': 'r',
      })
    }
    limits.close()
  })

  it('awaits a handler before it acknowledges, counts what it throws, and goes on', async () => {
    let running = 0
    let most = 0
    const handler = async (): Promise<void> => {
      running++
      most = Math.max(most, running)
      await new Promise(setImmediate)
      running--
      throw new Error('no')
    }
    await using scene = await openScene({ version, qos, isPublic, rules: [], handler })
    await scene.publish(10)
    await until(() => scene.limits.stats().handlerFailures === 10)
    expect(most).toBe(1)
    await scene.publish(1)
    await until(() => scene.handled.length === 11)
    expect(scene.consumer.client.connected).toBe(true)
  })
})

describe('a consumer with a rule against repeated payloads', () => {
  it.each([4, 5] as const)('of MQTT 3.1.1 or 5 (%i) handles a value once', async version => {
    const rules = [limit({ name: 'repeats', unchanged: 'drop', per: 'topic' })]
    let failures = 1
    const texts: string[] = []
    await using scene = await openScene({
      ...{ version, qos: 1, rules },
      handler: (_topic, payload) => {
        texts.push(String(payload))
        if (String(payload) === 'bad' && failures-- > 0) throw new Error('handler')
      },
    })
    const sent = ['on', 'on', 'off', 'off', 'on', 'bad', 'bad', 'bad']
    await scene.publish(sent.length, { text: index => sent[index]! })
    await until(() => scene.limits.stats().received === sent.length)
    // What a handler failed on passes once more.
    await until(() => texts.length === 5)
    expect(texts).toEqual(['on', 'off', 'on', 'bad', 'bad'])
    expect(scene.limits.stats()).toMatchObject({ dropped: 3 })
  })
})
