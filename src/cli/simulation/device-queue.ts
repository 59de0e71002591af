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

  /** Sorts a device in again, after its next action changed. Searches all devices. */
  update(device: SimulatedDevice): void {
    const place = this.#indices.indexOf(this.#devices.indexOf(device))
    this.#times[place] = device.nextAtMs
    this.#moveDown(this.#moveUp(place))
  }

  /** Returns the new place. */
  #moveUp(from: number): number {
    let place = from
    while (place > 0) {
      const parent = (place - 1) >> 1
      if (this.#isBefore(parent, place)) break
      this.#swap(parent, place)
      place = parent
    }
    return place
  }

  #swap(a: number, b: number): void {
    const [time, index] = [this.#times[a]!, this.#indices[a]!]
    this.#times[a] = this.#times[b]!
    this.#indices[a] = this.#indices[b]!
    this.#times[b] = time
    this.#indices[b] = index
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
