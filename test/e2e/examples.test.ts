import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, describe, expect, it } from 'vitest'
import { CLI, ensureBuilt } from '../support/built.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { type Program, type ProgramOptions, startNode } from '../support/program.ts'
import { until } from '../support/wait.ts'

beforeAll(ensureBuilt)

interface Running extends AsyncDisposable {
  readonly program: Program
  readonly port: number
}

async function startExample(
  name: string,
  args: string[] = [],
  env: ProgramOptions['env'] = {},
): Promise<Running> {
  const program = startNode([join('examples', name), ...args], { env: { PORT: '0', ...env } })
  const [, port] = await program.line(/mqtt:\/\/127\.0\.0\.1:(\d+)/)
  return { program, port: Number(port), [Symbol.asyncDispose]: () => program[Symbol.asyncDispose]() }
}

/** Asks it to end, as a service would; answers what it printed. */
async function end({ program }: Running): Promise<string> {
  program.signal('SIGTERM')
  const { code, signal, stdout, stderr } = await program.ended
  expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' })
  return stdout
}

interface Sending {
  readonly topic: string
  readonly count: number
  readonly payload?: string
  readonly username?: string
  readonly password?: string
  readonly clientId?: string
}

/** Publishes at QoS 1, all of it acknowledged; then one more on a topic of its own, behind which nothing is to come. */
async function deliver(port: number, { topic, count, payload = 'x', ...who }: Sending): Promise<number> {
  await using subscriber = await connectClient({ port, clientId: `watch-${topic}` })
  await subscriber.subscribe(topic, 1)
  await subscriber.subscribe('last/word', 1)
  await using sender = await connectClient({ port, clientId: 'sender', ...who })
  await Promise.all(Array.from({ length: count }, () => sender.publish(topic, payload, { qos: 1 })))
  await using closer = await connectClient({ port, clientId: `close-${topic}` })
  await closer.publish('last/word', 'x', { qos: 1 })
  const seen = await until(() => subscriber.messages.some(({ topic: each }) => each === 'last/word'), {
    what: 'the last word',
  })
  expect(seen).toBe(true)
  return subscriber.messages.filter(({ topic: each }) => each === topic).length
}

/** What a burst lets pass of a flood, and what is refilled while it lasts. */
function expectHeld(delivered: number, burst: number, perSecond: number, sinceMs: number): void {
  expect(delivered).toBeGreaterThanOrEqual(burst)
  expect(delivered).toBeLessThanOrEqual(burst + ((performance.now() - sinceMs) / 1_000) * perSecond + 1)
}

describe('examples', () => {
  it('aedes-broker holds a sensor to its limit and lets the operator pass, who knows the password', async () => {
    await using example = await startExample('aedes-broker.js', [], { OPERATOR_PASSWORD: 'right' })
    const sinceMs = performance.now()
    expectHeld(await deliver(example.port, { topic: 'fleet/a/s1/telemetry/t', count: 100 }), 20, 1, sinceMs)
    const operator = { topic: 'fleet/a/s2/telemetry/t', count: 100, username: 'operator' }
    expect(await deliver(example.port, { ...operator, password: 'right' })).toBe(100)
    await expect(deliver(example.port, { ...operator, password: 'wrong' })).rejects.toThrow(/refused/i)
    expect(await end(example)).toMatch(/ending: (7[0-9]|80) dropped, 0 held/)
  })

  it('aedes-broker passes all that the sensors of sensors.fleet.yaml send, and little of its flooder', async () => {
    await using example = await startExample('aedes-broker.js')
    await using fleet = startNode([
      ...[CLI, 'simulate', 'examples/sensors.fleet.yaml', '--for', '3s'],
      ...['--broker', `mqtt://127.0.0.1:${example.port}`],
    ])
    const { code, stdout, stderr } = await fleet.ended
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toMatch(/^sensors +20 +20 +60 +60 +- +0\.0 %$/m)
    expect(stdout).toMatch(/^flooder +1 +1 +300 +2\d +27\d +9\d\.\d %$/m)
  })

  it('aedes-policy-file follows its file, and keeps the old policy where the new one cannot be used', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'topicgate-example-'))
    try {
      const file = join(folder, 'policy.yaml')
      const policy = (burst: number): string =>
        `version: 1\nrules:\n  - { name: all, limit: 6/min burst ${burst}, per: topic, exceeded: drop }\n`
      writeFileSync(file, policy(5))
      await using example = await startExample('aedes-policy-file.js', [file])
      const sinceMs = performance.now()
      expectHeld(await deliver(example.port, { topic: 'a/first', count: 50 }), 5, 0.1, sinceMs)

      writeFileSync(file, 'version: 1\nrules:\n  - { name: all, limt: 6/min }\n')
      const refused = await until(() => example.program.stderr.includes('did you mean limit?'), {
        what: 'the refusal of the policy',
      })
      expect(refused).toBe(true)
      expectHeld(await deliver(example.port, { topic: 'a/second', count: 50 }), 5, 0.1, sinceMs)

      writeFileSync(join(folder, 'next'), policy(9))
      copyFileSync(join(folder, 'next'), file)
      await example.program.line(/policy: 1 rules/)
      expectHeld(await deliver(example.port, { topic: 'a/third', count: 50 }), 9, 0.1, sinceMs)

      example.program.signal('SIGTERM')
      expect(await example.program.ended).toMatchObject({ code: 0, signal: null })
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('aedes-policy-file says what is wrong with its policy and does not start', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'topicgate-example-'))
    try {
      const file = join(folder, 'policy.yaml')
      writeFileSync(file, 'version: 1\nrules:\n  - { name: all, limit: 0.5/s }\n')
      await using program = startNode([join('examples', 'aedes-policy-file.js'), file])
      expect(await program.ended).toMatchObject({
        code: 1,
        stderr: `${file}:3:25: rules[0].limit: the rate "0.5/s" is not a whole number (write 1 per 2s)\n`,
      })
    } finally {
      rmSync(folder, { recursive: true })
    }
  })

  it('adaptive reads its signals, and passes what is within the limit at any load', async () => {
    await using example = await startExample('adaptive.js', [], { EVERY_MS: '100' })
    expect(await deliver(example.port, { topic: 'fleet/x', count: 5 })).toBe(5)
    await sleep(500)
    expect(await deliver(example.port, { topic: 'fleet/y', count: 5, clientId: 'other' })).toBe(5)
    expect(await end(example)).toMatch(/ending: (cpu, )?event-loop, memory, queue-depth; \d+ changes/)
  })

  it('custom-middleware bans a client that goes on, and no other', async () => {
    await using example = await startExample('custom-middleware.js')
    const sinceMs = performance.now()
    const flooder = { topic: 'fleet/x', count: 200, clientId: 'flooder' }
    expectHeld(await deliver(example.port, flooder), 10, 1, sinceMs)
    await example.program.line(/^banned flooder for 30000 ms$/)
    expect(await deliver(example.port, { topic: 'fleet/y', count: 5, clientId: 'other' })).toBe(5)
    const output = await end(example)
    expect(output.match(/banned/g)).toHaveLength(1)
    expect(output).toMatch(/ending: 1[89]\d dropped/)
  })

  it('mqtt-gateway limits the clients of Mosquitto, and tells clients of MQTT 5', async () => {
    await using broker = await startMosquitto()
    await using example = await startExample('mqtt-gateway.js', [], { BROKER: broker.url })
    const sinceMs = performance.now()
    expectHeld(await deliver(example.port, { topic: 'fleet/x/t', count: 50 }), 20, 5, sinceMs)
    await using client = await connectClient({ port: example.port, clientId: 'v5', protocolVersion: 5 })
    const sent = Array.from({ length: 50 }, () => client.publish('fleet/y/t', 'x', { qos: 1 }))
    const refused = (await Promise.allSettled(sent)).filter(({ status }) => status === 'rejected')
    expect(refused.length).toBeGreaterThan(0)
    expect(String((refused[0] as PromiseRejectedResult).reason)).toContain('Quota exceeded')
    await client.close()
    expect(await end(example)).toMatch(/ending: \d+ dropped, [1-9]\d* rejected/)
  })

  it('dry-run refuses nothing and tells what it would have', async () => {
    await using example = await startExample('dry-run.js')
    expect(await deliver(example.port, { topic: 'fleet/x', count: 100 })).toBe(100)
    await example.program.line(/^first: trial "sender" has 0 of 10 left, again in \d+ ms$/)
    const output = await end(example)
    // Deliveries and the like are decided as well; only the rule's own messages would have been refused.
    const [, refused] = /trial would have refused (\d+) of \d+/.exec(output) ?? []
    expect(Number(refused)).toBeGreaterThanOrEqual(85)
    expect(Number(refused)).toBeLessThanOrEqual(90)
  })

  it('custom-algorithm halves the rate of one who goes on without a rest', async () => {
    await using program = startNode([join('examples', 'custom-algorithm.js')])
    const { code, stdout, stderr } = await program.ended
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const seconds = [19, ...Array(17).fill(10), ...Array(12).fill(5)]
    expect(stdout).toBe(`passed in each second: ${seconds.join(' ')}\n`)
  })

  it('conditional-exemptions lets emergencies pass, but not without bound', async () => {
    await using example = await startExample('conditional-exemptions.js')
    const sinceMs = performance.now()
    const payload = JSON.stringify({ priority: 'emergency' })
    const passed = await deliver(example.port, { topic: 'fleet/alarm', count: 50, payload })
    // Five by the exemption, three by the rule behind it.
    expectHeld(passed, 8, 0.1 + 5 / 60, sinceMs)
    const output = await end(example)
    expect(output).toMatch(/emergencies 5, reports passed 3, reports refused 42/)
  })

  it('mqtt-fleet-consumer works off what a fleet sends, and redirects what is too much', async () => {
    await using broker = await startMosquitto({ config: ['max_queued_messages 10000'] })
    await using program = startNode([join('examples', 'mqtt-fleet-consumer.js')], {
      env: { BROKER: broker.url },
    })
    await program.line(/^ready$/)
    const sinceMs = performance.now()
    const topic = 'fleet/a/d1/telemetry/t'
    await using watcher = await connectClient({ port: broker.port, clientId: 'watch-dead' })
    await watcher.subscribe(`dead/${topic}`, 1)
    await using sender = await connectClient({ port: broker.port, clientId: 'panel' })
    for (let index = 0; index < 100; index++) await sender.publish(topic, String(index), { qos: 1 })
    for (let index = 0; index < 5; index++)
      await sender.publish('fleet/a/d1/state', String(index), { qos: 1 })
    await sender.publish('fleet/a/d1/alarm', 'fire', { qos: 1 })
    await program.line(/^fleet\/a\/d1\/alarm fire$/)
    await program.line(/^fleet\/a\/d1\/state 4$/)
    program.signal('SIGTERM')
    const { code, stdout, stderr } = await program.ended
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    const ending = /ending: (\d+) delivered, (\d+) redirected, (\d+) superseded/.exec(stdout) ?? []
    const [delivered, redirected, superseded] = ending.slice(1).map(Number) as [number, number, number]
    expect(delivered + redirected + superseded).toBe(106)
    expect(superseded).toBeGreaterThan(0)
    expectHeld(100 - redirected, 20, 10, sinceMs)
    await watcher.received(redirected)
    expect(watcher.messages).toHaveLength(redirected)
  })

  it('throttled-device sends its alarm at once and its telemetry at its rate', async () => {
    await using broker = await startMosquitto()
    await using watcher = await connectClient({ port: broker.port, clientId: 'watcher' })
    await watcher.subscribe('sensor-7/#', 1)
    await using program = startNode([join('examples', 'throttled-device.js')], {
      env: { BROKER: broker.url, COUNT: '60' },
    })
    const { code, stdout, stderr } = await program.ended
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' })
    expect(stdout).toBe('alarm sent at once\n62 sent, 59 superseded, 0 failed\n')
    await watcher.received(62)
    const topics = watcher.messages.map(({ topic }) => topic)
    expect(topics[0]).toBe('sensor-7/alarm')
    const readings = watcher.messages.filter(({ topic }) => topic === 'sensor-7/telemetry')
    expect(readings.map(({ text }) => JSON.parse(text).reading)).toEqual(
      Array.from({ length: 60 }, (_, n) => n),
    )
  })
})
