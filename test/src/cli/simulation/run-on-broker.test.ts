import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { startMqttServer } from '../../../../src/cli/broker/mqtt-server.ts'
import { Gate } from '../../../../src/index.ts'
import { ensureBuilt } from '../../../support/built.ts'
import { runFleet, startFleet } from '../../../support/fleet.ts'
import { startMosquitto } from '../../../support/mosquitto.ts'
import { connectClient } from '../../../support/mqtt-client.ts'
import { startNats } from '../../../support/nats.ts'
import { freePort } from '../../../support/ports.ts'
import { runCommand } from '../fake-terminal.ts'
import { Folder } from '../folder.ts'

const FLEET = `
for: 1s
fleet:
  - { name: quiet, count: 3, topic: "fleet/{client}/t", qos: 1, send: { every: 100ms }, expect: { delivered: 100% } }
  - { name: offline, topic: "fleet/{client}/t", qos: 1, send: { every: 100ms }, faults: [{ at: 400ms, disconnect: 300ms }] }
`

const SLOW_FLEET = `
for: 2s
fleet:
  - { name: quiet, count: 3, topic: "fleet/{client}/t", qos: 1, send: { every: 100ms }, expect: { delivered: 100% } }
  - { name: slow, user: user, connects: { every: 1s, slow: 150ms } }
  - { name: endless, count: 3, user: other, connects: { every: 1s, slow: 1m } }
`
/** Connects and messages by group. */
const SLOW_COUNTS = [
  [3, 60],
  [2, 0],
  [6, 0],
]

beforeAll(ensureBuilt, 120_000)

describe('a fleet on a real broker', () => {
  it('is delivered by Mosquitto, and what devices kept too', async () => {
    await using mosquitto = await startMosquitto()
    using folder = new Folder()
    const capture = join(folder.path, 'c.jsonl')
    const groups = await runFleet(FLEET, mosquitto.url, '--capture', capture)
    expect(groups).toEqual([
      { name: 'quiet', devices: 3, connects: 3, messages: 30, delivered: 30, disordered: 0 },
      { name: 'offline', devices: 1, connects: 2, messages: 10, delivered: 10, disordered: 0 },
    ])
    const lines = readFileSync(capture, 'utf8').trimEnd().split('\n')
    expect(lines).toHaveLength(45)
  })

  it('connects again and again, and sends meanwhile', async () => {
    await using mosquitto = await startMosquitto()
    const fleet = `
for: 1s
fleet:
  - { name: quiet, topic: "fleet/{client}/t", qos: 1, send: { every: 100ms }, expect: { delivered: 100% } }
  - { name: flapping, count: 2, connects: { every: 100ms } }
  - { name: both, topic: "fleet/{client}/t", qos: 1, send: { every: 100ms }, connects: { every: 500ms } }
`
    const groups = await runFleet(fleet, mosquitto.url)
    expect(groups.map(({ connects, messages }) => [connects, messages])).toEqual([
      [1, 10],
      [20, 0],
      [2, 10],
    ])
  })

  it('shows what the limits of a broker do', async () => {
    const gate = await Gate.fromPolicy(
      'version: 1\nrules: [{ name: all, topic: "fleet/#", per: client, limit: 1/h burst 15, exceeded: drop }]',
    )
    const server = await startMqttServer({ gate, host: '127.0.0.1', port: 0 })
    const loud =
      '  - { name: loud, topic: "fleet/{client}/t", send: { flood: 100/s }, expect: { delivered: "<= 20%" } }\n'
    try {
      const groups = await runFleet(FLEET + loud, `mqtt://127.0.0.1:${server.port}`)
      expect(groups.map(({ messages, delivered }) => [messages, delivered])).toEqual([
        [30, 30],
        [10, 10],
        [100, 15],
      ])
    } finally {
      await server.close(0)
      await gate.close()
    }
  })

  it('has devices that stay away when they are disconnected, and others that ignore it', async () => {
    const gate = await Gate.fromPolicy(
      'version: 1\nrules: [{ name: few, topic: "few/#", per: client, limit: 1/h burst 5, exceeded: disconnect }]',
    )
    const duplicates: boolean[] = []
    gate.on('decision', (_, message) => {
      if (message.on === 'publish') duplicates.push(message.duplicate ?? false)
    })
    const server = await startMqttServer({ gate, host: '127.0.0.1', port: 0 })
    const fleet = `
for: 2s
fleet:
  - { name: obedient, topic: "few/{client}", send: { every: 100ms } }
  - { name: stubborn, topic: "few/{client}", send: { every: 100ms }, ignores: [disconnect] }
  - { name: repeating, topic: "fleet/{client}/t", qos: 1, send: { every: 100ms }, ignores: [puback], faults: [{ at: 1s, disconnect: 200ms }], expect: { delivered: 100% } }
`
    try {
      const groups = await runFleet(fleet, `mqtt://127.0.0.1:${server.port}`)
      const [obedient, stubborn, repeating] = groups
      expect(obedient).toMatchObject({ connects: 1, messages: 20, delivered: 5 })
      expect(stubborn).toMatchObject({ messages: 20, delivered: 5 })
      expect(stubborn!.connects).toBeGreaterThan(2)
      expect(repeating).toMatchObject({ connects: 2, messages: 30, delivered: 30, disordered: 0 })
      expect(duplicates.filter(Boolean)).toHaveLength(10)
    } finally {
      await server.close(0)
      await gate.close()
    }
  })

  it('has devices that are slow to connect, and others that lose nothing beside them', async () => {
    const gate = new Gate()
    const connects: (string | undefined)[] = []
    gate.on('decision', (_, { on, sender }) => {
      if (on === 'connect' && sender.user !== undefined) connects.push(`${sender.client} ${sender.user}`)
    })
    const server = await startMqttServer({ gate, host: '127.0.0.1', port: 0 })
    using folder = new Folder()
    const capture = join(folder.path, 'c.jsonl')
    try {
      const url = `mqtt://127.0.0.1:${server.port}`
      const groups = await runFleet(SLOW_FLEET, url, '--capture', capture)
      expect(groups.map(counts => [counts.connects, counts.messages])).toEqual(SLOW_COUNTS)
      expect(new Set(connects)).toEqual(new Set(['slow-1 user']))
      const users = readFileSync(capture, 'utf8').match(/"user":"\w+"/g)
      expect(users).toEqual(Array(2).fill('"user":"user"'))
    } finally {
      await server.close(0)
      await gate.close()
    }
  })

  it('has devices that are slow to connect to a NATS server', async () => {
    await using nats = await startNats()
    const groups = await runFleet(SLOW_FLEET.replaceAll('/', '.'), nats.url)
    expect(groups.map(({ connects, messages }) => [connects, messages])).toEqual(SLOW_COUNTS)
  })

  it('goes on after a restart of the broker with devices that ignore it, and with its subscriber', async () => {
    const fleet = `
for: 10m
fleet:
  - { name: stubborn, topic: "fleet/{client}/t", send: { every: 50ms }, ignores: [disconnect] }
  - { name: obedient, topic: "fleet/{client}/t", send: { every: 50ms } }
`
    const { port, url, stop } = await startMosquitto()
    await using running = startFleet(fleet, url)
    const receive = async (count: number, topic: string): Promise<void> => {
      await using client = await connectClient({ port })
      await client.subscribe(topic)
      await client.received(count, 60_000)
    }
    await receive(1, 'fleet/stubborn-1/t')
    await receive(1, 'fleet/obedient-1/t')
    await stop()
    await using _again = await startMosquitto({ port })
    await receive(20, 'fleet/stubborn-1/t')
    const [stubborn, obedient] = await running.end()
    expect(stubborn!.connects).toBeGreaterThan(1)
    expect(obedient!.connects).toBe(1)
    expect(stubborn!.delivered).toBeGreaterThan(obedient!.delivered)
  })

  it('is delivered by a NATS server', async () => {
    await using nats = await startNats()
    const groups = await runFleet(FLEET.replaceAll('fleet/{client}/t', 'fleet.{client}.t'), nats.url)
    expect(groups.map(({ messages, delivered }) => [messages, delivered])).toEqual([
      [30, 30],
      [10, 10],
    ])
  })

  it('reports a broker that is not there, and an address that is none', async () => {
    for (const scheme of ['mqtt', 'nats']) {
      const { exitCode, err } = await runCommand([
        'simulate',
        'flood',
        '--broker',
        `${scheme}://127.0.0.1:${await freePort()}`,
      ])
      expect(exitCode).toBe(69)
      expect(err).toMatch(new RegExp(`${scheme}://127\\.0\\.0\\.1:\\d+ cannot be used: `))
    }
    const { exitCode, err } = await runCommand(['simulate', 'flood', '--broker', 'http://x'])
    expect(exitCode).toBe(2)
    expect(err).toContain('write mqtt://host:1883, mqtts://host:8883 or nats://host:4222')
  })
})
