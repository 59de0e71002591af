import type { SimulatedDevice } from './simulated-device.ts'

/** Devices by the time of their next action, as a binary heap. Equal times are in the order of the fleet. */
export class DeviceQueue {
  readonly #devices: readonly SimulatedDevice[]
  /** Times and indexes of devices, the earliest first. */
  readonly #times: Float64Array
  readonly #deviceIndexes: Uint32Array

  constructor(devices: readonly SimulatedDevice[]) {
    this.#devices = devices
    this.#times = Float64Array.from(devices, device => device.nextAtMs)
    this.#deviceIndexes = Uint32Array.from(devices, (_, index) => index)
    for (let index = (devices.length >> 1) - 1; index >= 0; index--) this.#moveDown(index)
  }

  /** Returns the device that acts first. */
  first(): SimulatedDevice {
    return this.#devices[this.#deviceIndexes[0]!]!
  }

  /** Sorts the first device in again, after it advanced. */
  updateFirst(): void {
    this.#times[0] = this.first().nextAtMs
    this.#moveDown(0)
  }

  /** Sorts a device in again, after its next action changed. Searches all devices. */
  update(device: SimulatedDevice): void {
    const index = this.#deviceIndexes.indexOf(this.#devices.indexOf(device))
    this.#times[index] = device.nextAtMs
    this.#moveDown(this.#moveUp(index))
  }

  /** Returns the new index. */
  #moveUp(from: number): number {
    let index = from
    while (index > 0) {
      const parent = (index - 1) >> 1
      if (this.#isBefore(parent, index)) break
      this.#swap(parent, index)
      index = parent
    }
    return index
  }

  #swap(a: number, b: number): void {
    const [time, deviceIndex] = [this.#times[a]!, this.#deviceIndexes[a]!]
    this.#times[a] = this.#times[b]!
    this.#deviceIndexes[a] = this.#deviceIndexes[b]!
    this.#times[b] = time
    this.#deviceIndexes[b] = deviceIndex
  }

  #moveDown(from: number): void {
    const times = this.#times
    const deviceIndexes = this.#deviceIndexes
    const length = times.length
    const time = times[from]!
    const deviceIndex = deviceIndexes[from]!
    let index = from
    for (;;) {
      let child = 2 * index + 1
      if (child >= length) break
      if (child + 1 < length && this.#isBefore(child + 1, child)) child++
      const childTime = times[child]!
      if (time < childTime || (time === childTime && deviceIndex < deviceIndexes[child]!)) break
      times[index] = childTime
      deviceIndexes[index] = deviceIndexes[child]!
      index = child
    }
    times[index] = time
    deviceIndexes[index] = deviceIndex
  }

  #isBefore(a: number, b: number): boolean {
    const difference = this.#times[a]! - this.#times[b]!
    return difference < 0 || (difference === 0 && this.#deviceIndexes[a]! < this.#deviceIndexes[b]!)
  }
}
