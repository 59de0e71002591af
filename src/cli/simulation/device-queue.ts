import type { SimulatedDevice } from './simulated-device.ts'

/** Devices by the time of their next action, as a binary heap. Equal times are in the order of the fleet. */
export class DeviceQueue {
  readonly #devices: readonly SimulatedDevice[]
  /** Times and indices of devices, the earliest first. */
  readonly #times: Float64Array
  readonly #indices: Uint32Array

  constructor(devices: readonly SimulatedDevice[]) {
    this.#devices = devices
    this.#times = Float64Array.from(devices, device => device.nextAtMs)
    this.#indices = Uint32Array.from(devices, (_, index) => index)
    for (let place = (devices.length >> 1) - 1; place >= 0; place--) this.#moveDown(place)
  }

  /** Returns the device that acts first. */
  first(): SimulatedDevice {
    return this.#devices[this.#indices[0]!]!
  }

  /** Sorts the first device in again, after it advanced. */
  updateFirst(): void {
    this.#times[0] = this.first().nextAtMs
    this.#moveDown(0)
  }

  #moveDown(from: number): void {
    const times = this.#times
    const indices = this.#indices
    const length = times.length
    const time = times[from]!
    const index = indices[from]!
    let place = from
    for (;;) {
      let child = 2 * place + 1
      if (child >= length) break
      if (child + 1 < length && this.#isBefore(child + 1, child)) child++
      const childTime = times[child]!
      if (time < childTime || (time === childTime && index < indices[child]!)) break
      times[place] = childTime
      indices[place] = indices[child]!
      place = child
    }
    times[place] = time
    indices[place] = index
  }

  #isBefore(a: number, b: number): boolean {
    const difference = this.#times[a]! - this.#times[b]!
    return difference < 0 || (difference === 0 && this.#indices[a]! < this.#indices[b]!)
  }
}
