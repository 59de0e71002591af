import { DeviceQueue } from './device-queue.ts'
import type { FleetDocument } from './fleet-format.ts'
import { type DeviceAction, SimulatedDevice } from './simulated-device.ts'

/** What a device does at a time. */
export interface FleetEvent {
  /** Whole milliseconds since the epoch. */
  readonly atMs: number
  readonly action: DeviceAction
  /** `message` is that of the event until the next one of the device. */
  readonly device: SimulatedDevice
}

/** Returns true for what a broker receives: connects, and messages of devices that are connected. */
export function reachesBroker({ action, device }: FleetEvent): boolean {
  return action === 'connect' || (action === 'publish' && !device.hasLostConnection)
}

export const DEFAULT_SEED = 1
export const DEFAULT_FOR_MS = 600_000
export const DEFAULT_START_MS = Date.UTC(2026, 0, 1)

/** A fleet as an ordered row of events. The same document gives the same row. */
export class SimulatedFleet {
  readonly devices: readonly SimulatedDevice[]
  readonly #queue: DeviceQueue

  constructor({
    fleet,
    seed = DEFAULT_SEED,
    start = DEFAULT_START_MS,
    for: forMs = DEFAULT_FOR_MS,
  }: FleetDocument) {
    this.devices = fleet.flatMap((group, groupIndex) => {
      const span = {
        startMs: start + (group.from ?? 0),
        endMs: start + Math.min(forMs, group.until ?? forMs),
      }
      return Array.from(
        { length: group.count ?? 1 },
        (_, deviceIndex) =>
          new SimulatedDevice(group, deviceIndex + 1, mixSeed(seed, groupIndex, deviceIndex), span),
      )
    })
    this.#queue = new DeviceQueue(this.devices)
  }

  /** Time of the next event; Infinity at the end. */
  get nextAtMs(): number {
    return this.#queue.first().nextAtMs
  }

  /** Ends the connection of a device from the other side. */
  loseConnection(device: SimulatedDevice, atMs: number): void {
    device.loseConnection(atMs)
    this.#queue.update(device)
  }

  /** Returns the next event; undefined at the end. */
  next(): FleetEvent | undefined {
    const device = this.#queue.first()
    const { nextAtMs: atMs, nextAction: action } = device
    if (atMs === Infinity) return undefined
    device.advance()
    this.#queue.updateFirst()
    return { atMs, action, device }
  }
}

/** Mixes three numbers to a seed (the finaliser of MurmurHash3), so that devices of neighbours are not alike. */
function mixSeed(seed: number, group: number, device: number): number {
  let mixed = seed ^ Math.imul(group + 1, 0x9e3779b1) ^ Math.imul(device + 1, 0x85ebca77)
  mixed = Math.imul(mixed ^ (mixed >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return (mixed ^ (mixed >>> 16)) >>> 0
}
