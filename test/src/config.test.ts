import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { parse as parseYaml } from 'yaml'
import { READY_POLICIES, SERVICE_QUOTA_POLICIES } from '../../src/cli/policy/resolve-policy-files.ts'
import { testFileJsonSchema } from '../../src/cli/policy-tests/test-file-format.ts'
import type { Clock } from '../../src/core/clock.ts'
import type { Decision } from '../../src/core/decision.ts'
import type { Message, Sender } from '../../src/core/message.ts'
import { Gate } from '../../src/gate/gate.ts'
import { loadPolicy, policyJsonSchema } from '../../src/policy/index.ts'

interface AjvModule {
  readonly default: new (
    options: object,
  ) => {
    compile(schema: object): { (value: unknown): boolean; readonly errors?: unknown }
  }
}

const FOLDER = new URL('../../config/', import.meta.url).pathname
const POLICIES = readdirSync(FOLDER).filter(name => name.endsWith('.yaml'))
/** A Wednesday at noon. */
const NOON = Date.UTC(2025, 0, 1, 12)
const STANDING: Clock = { now: () => NOON, after: () => () => {} }

function gateOf(name: string): Promise<Gate> {
  return Gate.fromPolicy(`${FOLDER}${name}.yaml`, { clock: STANDING, env: {} })
}

function send(gate: Gate, sender: Sender, topic: string, more: Partial<Message> = {}): Decision {
  const decision = gate.check({ topic, sender, on: 'publish', size: 100, ...more })
  if (decision instanceof Promise) throw new Error('a local store answered with a promise')
  return decision
}

function sendAll(
  gate: Gate,
  sender: Sender,
  topic: string,
  count: number,
  more?: Partial<Message>,
): string[] {
  return Array.from({ length: count }, () => send(gate, sender, topic, more).outcome)
}

const count = (outcomes: readonly string[], outcome: string): number =>
  outcomes.filter(each => each === outcome).length

describe('the ready policies', () => {
  it('are those the documentation names', () => {
    const names = [...READY_POLICIES, ...SERVICE_QUOTA_POLICIES]
    expect(POLICIES).toEqual(names.map(name => `${name}.yaml`).sort())
    const page = readFileSync(new URL('../../docs/policies.md', import.meta.url), 'utf8')
    for (const name of names) expect(page).toContain(`| \`${name}\` |`)
  })

  it.each(POLICIES)(
    '%s loads, says what it is for, and asks only for outcomes every broker has',
    async name => {
      const { compiled: policy } = await loadPolicy(`${FOLDER}${name}`, { env: {} })
      expect(policy.store).toEqual({ url: 'memory' })
      expect(policy.rules.length).toBeGreaterThan(3)
      for (const { options } of policy.rules) {
        const outcomes =
          options.on === 'deliver' ? ['drop', 'reject'] : ['reject', 'drop', 'throttle', 'disconnect']
        // Conflation is what zigbee2mqtt needs it for.
        if (name === 'zigbee2mqtt.yaml') outcomes.push('latest')
        expect(outcomes).toContain(options.exceeded ?? 'reject')
      }
      expect(readFileSync(`${FOLDER}${name}`, 'utf8')).toMatch(/^# /)
    },
  )

  it('fleet slows down one device, and lets sixty of its alarms pass meanwhile', async () => {
    const gate = await gateOf('fleet')
    const wild = { client: 'c1' }
    const outcomes = sendAll(gate, wild, 'fleet/a/d1/telemetry/t', 60)
    expect(count(outcomes, 'deliver')).toBe(50)
    expect(count(outcomes, 'throttle')).toBe(10)
    expect(send(gate, { client: 'c2' }, 'fleet/a/d2/telemetry/t').rule).toBe('telemetry')
    const alarms = Array.from({ length: 61 }, () => send(gate, wild, 'fleet/a/d1/event/alarm'))
    expect(alarms.map(({ reason }) => reason)).toEqual([...Array(60).fill('exempt'), 'ok'])
    expect(send(gate, { client: 'b', user: 'backend' }, 'fleet/a/d1/telemetry/t').exemption).toBe('services')
  })

  it('edge-gateway shares the line by bytes and trusts the site only in its night', async () => {
    const gate = await gateOf('edge-gateway')
    const sensor = { client: 's1', ip: '10.1.2.3' }
    expect(count(sendAll(gate, sensor, 'up/s1/t', 12), 'drop')).toBe(2)
    expect(send(gate, { client: 's2' }, 'up/s2/t', { size: 256_001 }).retryAfterMs).toBe(Infinity)
    const urgent = { payload: () => ({ priority: 'emergency' }) }
    expect(send(gate, sensor, 'up/s1/t', urgent).exemption).toBe('emergencies')
    expect(send(gate, sensor, 'up/s1/t', { ...urgent, size: 4_001 }).outcome).toBe('drop')
  })

  it('zigbee2mqtt conflates the states of one device, and neither those of others nor those of the bridge', async () => {
    const gate = await gateOf('zigbee2mqtt')
    const bridge = { client: 'zigbee2mqtt' }
    const outcomes = sendAll(gate, bridge, 'zigbee2mqtt/meter', 8)
    expect([count(outcomes, 'deliver'), count(outcomes, 'latest')]).toEqual([5, 3])
    expect(send(gate, bridge, 'zigbee2mqtt/lamp').outcome).toBe('deliver')
    expect(count(sendAll(gate, bridge, 'zigbee2mqtt/bridge/logging', 100), 'deliver')).toBe(100)
    expect(count(sendAll(gate, { client: 'ui' }, 'zigbee2mqtt/lamp/set', 30), 'throttle')).toBe(20)
  })

  it('sparkplug never drops data of a node, and lets deaths pass', async () => {
    const gate = await gateOf('sparkplug')
    const node = { client: 'n1', ip: '192.0.2.1' }
    const outcomes = sendAll(gate, node, 'spBv1.0/g/NDATA/n1', 120)
    expect([count(outcomes, 'deliver'), count(outcomes, 'throttle')]).toEqual([100, 20])
    expect(count(sendAll(gate, node, 'spBv1.0/g/NBIRTH/n1', 4), 'throttle')).toBe(1)
    expect(send(gate, node, 'spBv1.0/g/NDEATH/n1', { will: true }).exemption).toBe('deaths')
  })

  it('the quotas of cloud services hold, counted as the services do', async () => {
    const aws = await gateOf('aws-iot-core')
    expect(count(sendAll(aws, { client: 'c1' }, 't', 120), 'deliver')).toBe(100)
    expect(send(aws, { client: 'c2' }, 't', { size: 128_001 }).reason).toBe('too_large')
    const large = sendAll(aws, { client: 'c3' }, 't', 6, { size: 120_000 })
    expect(count(large, 'deliver')).toBe(4)
    const azure = await gateOf('azure-iot-hub')
    expect(count(sendAll(azure, { client: 'c1' }, 't', 120), 'deliver')).toBe(100)
    expect(azure.ruleOf('daily')).toBeDefined()
    const adafruit = await gateOf('adafruit-io')
    const feeds = Array.from({ length: 40 }, (_, feed) =>
      send(adafruit, { client: 'c1' }, `ann/feeds/f${feed}`),
    )
    expect(feeds.filter(({ allowed }) => allowed).length).toBe(30)
    const one = await gateOf('adafruit-io')
    expect(count(sendAll(one, { client: 'c1' }, 'ann/feeds/f', 5), 'deliver')).toBe(2)
  })

  it('strict-ingest refuses the twenty-first message of a second and disconnects a flood', async () => {
    const gate = await gateOf('strict-ingest')
    const sender = { client: 'c', ip: '192.0.2.1' }
    const outcomes = sendAll(gate, sender, 'ingest/a/x', 21)
    expect(outcomes.lastIndexOf('deliver')).toBe(19)
    expect(outcomes[20]).toBe('reject')
    const flood = Array.from({ length: 2_001 }, (_, n) =>
      send(gate, { client: `c${n}`, ip: '192.0.2.2' }, 'x'),
    )
    expect(flood.at(-1)).toMatchObject({ outcome: 'disconnect', rule: 'flood' })
    expect(flood.at(-2)).toMatchObject({ outcome: 'deliver' })
  })

  it('api-style charges heavy calls more and only reports unknown users', async () => {
    const gate = await gateOf('api-style')
    const caller = { client: 'c', user: 'acme', ip: '192.0.2.1' }
    expect(send(gate, caller, 'api/v1/report/x')).toMatchObject({
      allowed: true,
      rule: 'calls',
      remaining: 450,
    })
    expect(count(sendAll(gate, caller, 'api/v1/report/x', 10), 'reject')).toBe(1)
    const guests = Array.from({ length: 1_001 }, (_, n) =>
      send(gate, { user: `u${n}`, ip: '192.0.2.9' }, 'api/v1/x'),
    )
    expect(guests.every(({ allowed }) => allowed)).toBe(true)
    expect(guests.at(-1)?.shadow).toEqual(['strangers'])
  })

  it('have tests with a JSON Schema that is up to date, and that accepts them', async () => {
    const written = JSON.parse(readFileSync(`${FOLDER}policy-test.schema.json`, 'utf8')) as object
    expect(written).toEqual(JSON.parse(JSON.stringify(testFileJsonSchema())))
    const { default: Ajv } = (await import('ajv/dist/2020.js' as string)) as AjvModule
    const validate = new Ajv({ strict: false }).compile(written)
    for (const file of readdirSync(`${FOLDER}tests`).filter(name => name.endsWith('.yaml'))) {
      const tests: unknown = parseYaml(readFileSync(`${FOLDER}tests/${file}`, 'utf8'))
      expect(validate(tests), `${file}: ${JSON.stringify(validate.errors)}`).toBe(true)
    }
    const wrong = { policy: 'p.yaml', tests: [{ name: 'a', steps: [{ sned: { topic: 't' } }] }] }
    expect(validate(wrong)).toBe(false)
  })

  it('have a JSON Schema that is up to date', () => {
    const written: unknown = JSON.parse(readFileSync(`${FOLDER}policy.schema.json`, 'utf8'))
    expect(written).toEqual(JSON.parse(JSON.stringify(policyJsonSchema())))
    expect(written).toMatchObject({ $schema: 'https://json-schema.org/draft/2020-12/schema' })
  })
})
