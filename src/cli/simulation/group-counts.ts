import type { FleetDocument, FleetGroup } from './fleet-format.ts'
import type { ReceivedMessage } from './fleet-payloads.ts'
import type { SimulatedDevice } from './simulated-device.ts'
import type { FleetEvent } from './simulated-fleet.ts'

/** Counts of a group of devices. */
export interface GroupCount {
  readonly name: string
  readonly devices: number
  /** Connections that devices started. */
  connects: number
  /** Published messages. One that is sent twice counts twice. */
  messages: number
  /** Messages that a policy allowed, or that a broker delivered. */
  delivered: number
  /** Messages that a broker delivered twice, or after a later one of their device. 0 for a group whose devices send twice. */
  disordered: number
}

/** Counts of a simulation by group, in the order of the fleet. */
export class GroupCounts {
  readonly #counts: ReadonlyMap<FleetGroup, GroupCount>
  /** Highest number of a delivered message of each device. */
  readonly #latest = new Map<SimulatedDevice, number>()

  constructor(fleet: FleetDocument['fleet']) {
    this.#counts = new Map(
      fleet.map(group => {
        const { name, count: devices = 1 } = group
        return [group, { name, devices, connects: 0, messages: 0, delivered: 0, disordered: 0 }]
      }),
    )
  }

  /** Counts the start of a connection, or a published message. */
  recordEvent({ action, device }: Pick<FleetEvent, 'action' | 'device'>): void {
    const count = this.of(device.group)
    if (action === 'publish') count.messages++
    else if (action === device.beginning) count.connects++
  }

  /** Counts a message that a subscriber has received. */
  recordDelivery({ device, number }: ReceivedMessage): void {
    const count = this.of(device.group)
    count.delivered++
    if (number > (this.#latest.get(device) ?? 0)) this.#latest.set(device, number)
    else if (!sendsTwice(device.group)) count.disordered++
  }

  of(group: FleetGroup): GroupCount {
    return this.#counts.get(group)!
  }

  sum(part: 'messages' | 'delivered' | 'disordered'): number {
    return this.list().reduce((sum, count) => sum + count[part], 0)
  }

  list(): readonly GroupCount[] {
    return [...this.#counts.values()]
  }
}

function sendsTwice({ duplicate = 0, ignores }: FleetGroup): boolean {
  return duplicate > 0 || (ignores?.includes('puback') ?? false)
}
