import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { connect } from 'mqtt'
import { describe, expect, it } from 'vitest'
import { limitConsumer, limitPublishes } from '../../brokers/mqtt/index.ts'
import { Gate, limit } from '../../src/index.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { until } from '../support/wait.ts'

const MESSAGES = 120

describe('a Mosquitto that is killed in mid-run and comes back', () => {
  it.each([
    [4, 1],
    [4, 2],
    [5, 1],
    [5, 2],
  ] as const)('loses nothing of a persistent session: MQTT %d, QoS %d', async (version, qos) => {
    const folder = mkdtempSync(join(tmpdir(), 'topicgate-mosquitto-'))
    const config = [
      ...['persistence true', `persistence_location ${folder}/`, 'user root', 'max_queued_messages 10000'],
      ...['autosave_on_changes true', 'autosave_interval 1'],
    ]
    let broker = await startMosquitto({ config })
    const { port } = broker
    const session = {
      ...{ clientId: 'consumer', clean: false, protocolVersion: version },
      ...(version === 5 && { properties: { sessionExpiryInterval: 600, receiveMaximum: 10 } }),
    }
    {
      await using consumer = await connectClient({ port, ...session })
      await consumer.subscribe('in/#', qos)
    }
    {
      await using sender = await connectClient({ port, clientId: 'sender' })
      const publisher = limitPublishes(sender.client, { rate: 'unlimited' })
      const texts = Array.from({ length: MESSAGES }, (_, index) => String(index))
      const published = await Promise.all(texts.map(text => publisher.publish('in/a', text, { qos })))
      expect(published.filter(({ outcome }) => outcome === 'sent')).toHaveLength(MESSAGES)
      publisher.close()
      // What it has acknowledged last it may not have written down.
      process.kill(broker.pid, 'SIGUSR1')
      await sender.publish('done', '', { qos: 1 })
    }
    const client = connect({ host: '127.0.0.1', port, reconnectPeriod: 50, ...session })
    client.on('error', () => {})
    const seen: string[] = []
    const again: boolean[] = []
    const gate = new Gate().use(limit({ name: 'r', rate: '60/s burst 1', exceeded: 'throttle' }))
    const limits = limitConsumer(client, gate, {
      handler: (_topic, payload, { dup }) => {
        const text = String(payload)
        if (seen.includes(text)) again.push(dup === true)
        seen.push(text)
      },
    })
    try {
      await until(() => seen.length >= 40)
      await broker.stop('SIGKILL')
      const before = seen.length
      broker = await startMosquitto({ config, port })
      await until(() => new Set(seen).size === MESSAGES, {
        timeoutMs: 60_000,
        what: () => `all; ${before} before, ${new Set(seen).size} now`,
      })
      await limits.drain()
      expect(before).toBeLessThan(MESSAGES)
      // Mosquitto does not write each acknowledgement down: what it has forgotten comes again, and is said to.
      expect(again).toEqual(again.map(() => true))
      expect(limits.stats()).toMatchObject({ held: 0, dropped: 0, overflowed: 0, handlerFailures: 0 })
    } finally {
      limits.close()
      await client.endAsync(true)
      await broker.stop()
      await gate.close()
      rmSync(folder, { recursive: true, force: true })
    }
  })
})
