import { random } from '../support/random.ts'

/**
 * Policy with tiers, roles, quotas, penalties, exemptions, warnings, a shadow rule and every algorithm. Topics have
 * one level, so that patterns mean the same in MQTT and NATS. No rule holds messages, because a replay does not.
 */
export const TRAFFIC_POLICY = `
version: 1
senders:
  device: "{topic.device}"
  roles: { from: "{topic.device}", map: { d6: [service] } }
tiers:
  small: { limit: 50/min burst 12 }
  large: { limit: 600/min burst 200, cost: x0.5 }
  d4: { limit: 12 per 30s burst 8, cost: x1.5 }
  d5: { limit: unlimited }
  assign: { from: "{topic.device}", default: small }
exempt:
  - { name: alarms, when: { payload: { field: level, equals: alarm } }, limit: 20/min per device }
  - { name: services, roles: [service], when: { size: { max: 60B } } }
  - { name: nights, devices: [d1], when: { time: "23:55-00:05", zone: Europe/Berlin } }
rules:
  - { name: device, topic: "{device}", per: device, limit: 1/s burst 3, exceeded: drop, warn: [80%] }
  - { name: bytes, topic: "{device}", limit: 40/s burst 600, cost: bytes, warn: [50%, 90%] }
  - { name: weight, topic: "{device}", per: device, limit: 9 per 3s, cost: { payload: weight }, algorithm: sliding-counter }
  - { name: log, topic: "{device}", per: topic, limit: 5 per 4s, algorithm: sliding-log, exceeded: drop }
  - { name: even, topic: "d2", limit: 1/s, algorithm: leaky-bucket, exceeded: { degrade: { strip: [text] } } }
  - { name: window, topic: "d3", limit: 12/min, algorithm: fixed-window, penalties: { block: 3s, after: 2 refusals in 5s, per: device } }
  - { name: daily, topic: "{device}", per: device, quota: 110/day, zone: Europe/Berlin }
  - { name: trial, topic: "{device}", limit: 4/s, shadow: true }
penalties: { block: 2s, after: 4 refusals in 2s, grow: x2 up to 20s, per: device }
`

/** Rules and tiers of the policy that can refuse. */
export const REFUSING_RULES = ['device', 'bytes', 'weight', 'log', 'window', 'daily', 'tier:small', 'tier:d4']

/** Message with its time in whole milliseconds since the epoch. */
export interface TrafficMessage {
  readonly at: number
  readonly topic: string
  readonly payload: object
}

/** Start of the traffic: before midnight in Berlin, so that the day of a quota ends during the traffic. */
export const START_MS = Date.UTC(2026, 0, 1, 22, 48)

/** Returns seeded traffic of seven devices: bursts, gaps, and several messages in one millisecond. */
export function generateTraffic(seed: number, count: number): readonly TrafficMessage[] {
  const chance = random(seed)
  let at = START_MS
  return Array.from({ length: count }, () => {
    at += chance.chance(0.5) ? 0 : chance.chance(0.01) ? chance.int(5_000, 120_000) : chance.int(1, 700)
    const payload = {
      weight: chance.int(1, 4),
      ...(chance.chance(0.1) && { level: 'alarm' }),
      ...(chance.chance(0.2) && { text: 'x'.repeat(chance.int(1, 300)) }),
    }
    return { at, topic: `d${chance.int(1, 7)}`, payload }
  })
}

/** Returns the messages as the text of a capture. */
export function captureOf(traffic: readonly TrafficMessage[]): string {
  return traffic.map(message => JSON.stringify(message)).join('\n')
}
