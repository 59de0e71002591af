import { afterEach, describe, expect, it } from 'vitest'
import { type RunningMqttServer, startMqttServer } from '../../../../src/cli/broker/mqtt-server.ts'
import {
  DEFAULT_PERSISTENCE_LIMITS,
  type PersistenceLimitOptions,
} from '../../../../src/cli/persistence/limit-options.ts'
import { Gate } from '../../../../src/gate/gate.ts'
import { connectClient, type TestClient } from '../../../support/mqtt-client.ts'
import { until } from '../../../support/wait.ts'

let server: RunningMqttServer | undefined
const warnings: string[] = []
afterEach(async () => {
  await server?.close(0)
  server = undefined
  warnings.length = 0
})

async function start(limits: Partial<PersistenceLimitOptions>): Promise<RunningMqttServer> {
  const ignore = (): void => {}
  const warn = (_context: object, text?: string): void => void warnings.push(text ?? '')
  server = await startMqttServer({
    gate: new Gate(),
    host: '127.0.0.1',
    port: 0,
    logger: { debug: ignore, info: ignore, warn, error: ignore },
    storageLimits: { ...DEFAULT_PERSISTENCE_LIMITS, ...limits },
  })
  return server
}

function connect(clientId: string, clean = true): Promise<TestClient> {
  return connectClient({ port: server!.port!, clientId, clean })
}

/** Returns the value of a metric, by its label if it has one. */
function metric(name: string, label?: string): number | undefined {
  const family = server!.collectMetrics().find(each => each.name === `topicgate_broker_${name}`)
  return family?.samples.find(({ labels }) => label === undefined || Object.values(labels)[0] === label)
    ?.value
}

async function readRetained(): Promise<readonly string[]> {
  await using reader = await connect('reader')
  await reader.subscribe('#', 1)
  await reader.publish('end', 'end', { qos: 1 })
  await until(() => reader.messages.some(({ topic }) => topic === 'end'))
  return reader.messages.filter(({ packet }) => packet.retain).map(({ topic, text }) => `${topic}=${text}`)
}

describe('retained messages', () => {
  it('above the maximum are delivered but not retained, and a publisher leaves room for others', async () => {
    await start({ maxRetained: 10 })
    await using subscriber = await connect('live')
    await subscriber.subscribe('#')
    await using flooder = await connect('flooder')
    for (let n = 0; n < 20; n++) await flooder.publish(`flood/${n}`, 'x', { qos: 1, retain: true })
    await subscriber.received(20)
    expect(metric('retained_messages')).toBe(9)
    await using other = await connect('other')
    await other.publish('other/1', 'y', { qos: 1, retain: true })
    expect(metric('retained_messages')).toBe(10)
    expect(metric('storage_refused_total', 'retained')).toBe(11)
    expect(warnings).toEqual([expect.stringContaining('--max-retained')])
    // A changed message of a topic takes no more room.
    await flooder.publish('flood/0', 'changed', { qos: 1, retain: true })
    expect(await readRetained()).toContain('flood/0=changed')
    await flooder.publish('flood/0', '', { qos: 1, retain: true })
    expect(metric('retained_messages')).toBe(9)
  })

  it('above the maximum of bytes do not leave an outdated one behind', async () => {
    await start({ maxRetainedBytes: 100 })
    await using client = await connect('c')
    await client.publish('t', 'small', { qos: 1, retain: true })
    expect(await readRetained()).toEqual(['t=small'])
    await client.publish('t', 'x'.repeat(200), { qos: 1, retain: true })
    expect(await readRetained()).toEqual([])
    expect(metric('retained_bytes')).toBe(0)
  })
})

describe('persistent sessions', () => {
  it('above the maximum get a refused subscription; known ones and clean ones do not', async () => {
    await start({ maxSessions: 2 })
    await using first = await connect('first', false)
    await first.subscribe('a', 1)
    await using second = await connect('second', false)
    // One address leaves a tenth for others, of so few a whole one. MQTT.js reports return code 128 as an error.
    await expect(second.subscribe('a', 1)).rejects.toThrow('Subscribe error')
    await first.subscribe('b', 1)
    await using clean = await connect('clean')
    await clean.subscribe('a', 1)
    expect(metric('sessions')).toBe(1)
    expect(metric('storage_refused_total', 'session')).toBe(1)
    await first.client.unsubscribeAsync(['a', 'b'])
    await second.subscribe('a', 1)
    expect(metric('sessions')).toBe(1)
  })

  it('queue up to the maximum while they are offline; further messages are counted', async () => {
    await start({ maxQueuedMessages: 5 })
    const offline = await connect('s', false)
    await offline.subscribe('t/#', 1)
    await offline.close()
    await using publisher = await connect('p')
    for (let n = 0; n < 8; n++) await publisher.publish('t/x', String(n), { qos: 1 })
    expect(metric('queued_messages')).toBe(5)
    expect(metric('storage_refused_total', 'queued')).toBe(3)
    {
      await using back = await connect('s', false)
      expect(back.connack.sessionPresent).toBe(true)
      await back.received(5)
      expect(back.messages.map(({ text }) => text)).toEqual(['0', '1', '2', '3', '4'])
      await until(() => metric('queued_messages') === 0)
      expect(metric('queued_bytes')).toBe(0)
    }
    for (let n = 0; n < 3; n++) await publisher.publish('t/x', String(n), { qos: 1 })
    expect(metric('queued_messages')).toBe(3)
    // A clean session ends the earlier one with its queue.
    await using clean = await connect('s', true)
    expect(clean.connack.sessionPresent).toBe(false)
    expect([metric('sessions'), metric('queued_messages'), metric('queued_bytes')]).toEqual([0, 0, 0])
  })

  it('that do not acknowledge are disconnected at the maximum', async () => {
    await start({ maxQueuedMessages: 5 })
    await using slow = await connect('slow', false)
    await slow.subscribe('t/#', 1)
    slow.client.handleMessage = () => {}
    await using publisher = await connect('p')
    for (let n = 0; n < 9; n++) await publisher.publish('t/x', String(n), { qos: 1 })
    await until(() => !slow.client.connected)
    expect(metric('slow_sessions_closed_total')).toBe(1)
    expect(metric('queued_messages')).toBe(6)
  })
})
