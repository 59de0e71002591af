import { setTimeout as sleep } from 'node:timers/promises'
import { LoopTurns } from '../../core/loop-turns.ts'
import type { DeviceConnection, FleetBroker, OpenBroker } from './fleet-broker.ts'
import type { FleetDocument, FleetGroup } from './fleet-format.ts'
import { FleetPayloads } from './fleet-payloads.ts'
import { GroupCounts } from './group-counts.ts'
import type { SimulatedDevice } from './simulated-device.ts'
import { DEFAULT_START_MS, type FleetEvent, SimulatedFleet } from './simulated-fleet.ts'

/** Minimum sleep: a flood is sent in groups, which wakes the process less often. */
const MIN_SLEEP_MS = 5
/** Maximum sleep, because a device that has lost its connection may act earlier than planned, and the run may be stopped. */
const MAX_SLEEP_MS = 50
const CHECK_MS = 20

export interface DeliveryWait {
  /** Groups whose messages are awaited. */
  readonly groups: readonly FleetGroup[]
  /** Maximum time without a delivery. */
  readonly quietMs: number
  readonly maxMs: number
}

/** A fleet in real time: a client of a broker for each device, and a subscriber that counts what is delivered. */
export class LiveFleet {
  readonly counts: GroupCounts
  readonly #fleet: SimulatedFleet
  readonly #payloads: FleetPayloads
  readonly #startMs: number
  #broker: FleetBroker | undefined
  /** Connections of the devices that are online. */
  readonly #connections = new Map<SimulatedDevice, DeviceConnection>()
  #beginMs = 0
  #deliveredAtMs = 0

  private constructor(document: FleetDocument) {
    this.counts = new GroupCounts(document.fleet)
    this.#fleet = new SimulatedFleet(document)
    this.#payloads = new FleetPayloads(this.#fleet.devices)
    this.#startMs = document.start ?? DEFAULT_START_MS
  }

  /** Connects the subscriber. Rejects with CommandError if the broker is not available. */
  static async open(document: FleetDocument, url: URL): Promise<LiveFleet> {
    const fleet = new LiveFleet(document)
    const open = await loadBroker(url.protocol)
    const topics = document.fleet.flatMap(({ topic }) => topic ?? [])
    const filters = [...new Set(topics.map(topic => filterOf(topic, url.protocol)))]
    fleet.#broker = await open(url, filters, payload => fleet.#recordDelivery(payload))
    return fleet
  }

  /**
   * Runs the devices from now on, until the end of the fleet or until `stopped`. Calls `onEvent` for each event, when a
   * device has done it. Late events follow at once.
   */
  async run(stopped: Promise<unknown>, onEvent: (event: FleetEvent) => Promise<void>): Promise<void> {
    const fleet = this.#fleet
    let isStopped = false
    void stopped.then(() => {
      isStopped = true
    })
    this.#beginMs = performance.now()
    const turns = new LoopTurns()
    while (fleet.nextAtMs !== Infinity && !isStopped) {
      const waitMs = fleet.nextAtMs - this.#nowMs
      if (waitMs >= 1) {
        await sleep(Math.min(Math.max(waitMs, MIN_SLEEP_MS), MAX_SLEEP_MS))
      } else {
        const event = fleet.next()!
        if (this.#performAction(event)) await onEvent(event)
        if (turns.isOver()) await turns.next()
      }
    }
  }

  /** Waits for messages on their way. */
  async awaitDeliveries({ groups, quietMs, maxMs }: DeliveryWait): Promise<void> {
    const endMs = performance.now() + maxMs
    this.#deliveredAtMs = performance.now()
    const counts = groups.map(group => this.counts.of(group))
    while (
      counts.some(({ delivered, messages }) => delivered < messages) &&
      performance.now() < Math.min(endMs, this.#deliveredAtMs + quietMs)
    ) {
      await sleep(CHECK_MS)
    }
  }

  async close(): Promise<void> {
    for (const connection of this.#connections.values()) connection.destroy()
    this.#connections.clear()
    await this.#broker?.close()
  }

  /** Time on the clock of the fleet, in milliseconds since the epoch. */
  get #nowMs(): number {
    return this.#startMs + performance.now() - this.#beginMs
  }

  /** Returns false if the device cannot send, because its connection takes no more. */
  #performAction({ action, device }: FleetEvent): boolean {
    if (action === 'publish') {
      if (!device.hasLostConnection && !this.#publish(device)) return false
    } else if (action === 'disconnect' || action === device.beginning) {
      this.#connections.get(device)?.close()
      this.#connections.delete(device)
      if (action === device.beginning) this.#connect(device)
    }
    this.counts.recordEvent({ action, device })
    return true
  }

  #connect(device: SimulatedDevice): void {
    const onLost = (): void => {
      if (this.#connections.get(device) !== connection) return
      this.#connections.delete(device)
      this.#fleet.loseConnection(device, this.#nowMs)
    }
    const { sender, group } = device
    const connection = this.#broker!.connect({ sender, slowMs: group.connects?.slow, onLost })
    this.#connections.set(device, connection)
  }

  #publish(device: SimulatedDevice): boolean {
    const { qos = 0, retain = false } = device.group
    const { message, isRedelivered } = device
    const payload = this.#payloads.create(device)
    return this.#connections
      .get(device)!
      .publish({ topic: message.topic, payload, qos, retain, isRedelivered })
  }

  #recordDelivery(payload: Uint8Array): void {
    const received = this.#payloads.read(payload)
    if (received === undefined) return
    this.#deliveredAtMs = performance.now()
    this.counts.recordDelivery(received)
  }
}

async function loadBroker(protocol: string): Promise<OpenBroker> {
  return protocol === 'nats:'
    ? (await import('./nats-fleet-broker.ts')).openNatsBroker
    : (await import('./mqtt-fleet-broker.ts')).openMqttBroker
}

/** Returns the filter of all topics of a group. */
function filterOf(topic: string, protocol: string): string {
  const [separator, one] = protocol === 'nats:' ? ['.', '*'] : ['/', '+']
  return topic
    .split(separator)
    .map(level => (level.includes('{') ? one : level))
    .join(separator)
}
