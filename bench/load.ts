import { type Clock, createSender, exempt, Gate, limit, type Message, type Sender } from '../src/index.ts'

/** Senders, their topics and the random order in which they send. */
export interface Load {
  readonly senders: readonly Sender[]
  readonly topics: readonly string[]
  readonly order: Int32Array
}

export const RATES = { allowed: '1000000/s burst 1000000000', refused: '1 per 1000000s' } as const

export function makeLoad(count: number, decisions: number): Load {
  const order = new Int32Array(decisions)
  let state = 12_345
  for (let index = 0; index < decisions; index++) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0
    order[index] = (state >>> 4) % count
  }
  const each = Array.from({ length: count }, (_, index) => index)
  return {
    senders: each.map(index =>
      createSender({
        client: `client-${index}`,
        user: `user-${index}`,
        device: `device-${index}`,
        ip: '192.0.2.7',
        roles: [],
      }),
    ),
    topics: each.map(index => `fleet/site-${index % 20}/device-${index}/telemetry/temperature`),
    order,
  }
}

/** A gate with two exemptions and one or three rules on one topic pattern, with a rate or so that all or none pass. */
export function makeGate(rules: 1 | 3, outcome: keyof typeof RATES | `${number}/s`, clock?: Clock): Gate {
  const rate = outcome in RATES ? RATES[outcome as keyof typeof RATES] : outcome
  const gate = new Gate({ clock })
  gate.use(
    exempt({ name: 'housekeeping', topics: ['$SYS/#', 'admin/#', 'system/health'] }),
    exempt({ name: 'operators', roles: ['admin'], ips: ['10.0.0.0/8', 'fd00::/8'] }),
  )
  const all = [
    limit({ name: 'by-device', rate, per: 'device', exceeded: 'drop' }),
    limit({ name: 'by-client', rate, per: 'client', exceeded: 'drop' }),
    limit({ name: 'by-client-and-topic', rate, per: ['client', 'topic'], exceeded: 'drop' }),
  ]
  return gate.use('fleet/{site}/{device}/telemetry/#', ...all.slice(0, rules))
}

/** A fresh message, as an adapter makes one for each packet. */
export function makeMessage(load: Load, index: number): Message {
  return {
    topic: load.topics[index]!,
    on: 'publish',
    sender: load.senders[index]!,
    size: 100,
    qos: 0,
    retain: false,
    protocol: 'mqtt',
  }
}
