import { randomBytes } from 'node:crypto'
import type { SimulatedDevice } from './simulated-device.ts'

/** A message that a subscriber has received. */
export interface ReceivedMessage {
  readonly device: SimulatedDevice
  /** Number of the message of its device. */
  readonly number: number
}

/** Characters of the longest mark. */
const MARK_CHARS = 40

/** Payloads that name the run, the device and the number of its message. */
export class FleetPayloads {
  /** Messages of others on the broker are not counted. */
  readonly #run = randomBytes(3).toString('hex')
  readonly #devices: readonly SimulatedDevice[]
  readonly #marks: ReadonlyMap<SimulatedDevice, string>

  constructor(devices: readonly SimulatedDevice[]) {
    this.#devices = devices
    this.#marks = new Map(devices.map((device, index) => [device, `${this.#run}:${index}:`]))
  }

  /** Returns the payload of the latest message of a device: of its size, or longer if the mark does not fit. */
  create(device: SimulatedDevice): Buffer {
    const { number, size } = device.message
    return Buffer.from(`${this.#marks.get(device)}${number};`.padEnd(size, '.'))
  }

  /** Returns undefined if the payload is not one of this run. */
  read(payload: Uint8Array): ReceivedMessage | undefined {
    const start = Buffer.from(payload.buffer, payload.byteOffset, Math.min(payload.length, MARK_CHARS))
    const [, run, index, number] = /^(\w+):(\d+):(\d+);/.exec(start.toString('latin1')) ?? []
    const device = run === this.#run ? this.#devices[Number(index)] : undefined
    return device && { device, number: Number(number) }
  }
}
