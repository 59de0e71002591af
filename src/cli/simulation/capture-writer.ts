import { CaptureOutput } from '../capture/capture-output.ts'
import type { Terminal } from '../terminal/terminal.ts'
import type { SimulatedDevice } from './simulated-device.ts'
import type { FleetEvent } from './simulated-fleet.ts'

/** Writes events of a fleet as a capture, to a file or, for `-`, to the standard output. */
export class CaptureWriter {
  readonly #output: CaptureOutput
  readonly #lineEnds = new Map<SimulatedDevice, string>()

  /** Throws CommandError if the file cannot be written. */
  constructor(path: string, terminal: Terminal) {
    const file = path === '-' ? undefined : path
    this.#output = new CaptureOutput({ file, rotateBytes: Infinity, files: 1 }, terminal)
  }

  /** Adds a line for an event that is sent, at a time. Returns true if `flush` should be awaited. */
  record({ action, device }: FleetEvent, atMs: number): boolean {
    return this.#output.add(
      action === 'publish'
        ? `{"at":${atMs},"topic":${JSON.stringify(device.message.topic)},"size":${device.message.size}${this.#lineEnd(device)}`
        : `{"at":${atMs},"topic":"connect","on":"connect"${this.#lineEnd(device)}`,
    )
  }

  /** Writes the lines so far. Rejects with CommandError if that fails. */
  flush(): Promise<void> {
    return this.#output.flush()
  }

  close(): Promise<void> {
    return this.#output.close()
  }

  #lineEnd(device: SimulatedDevice): string {
    let end = this.#lineEnds.get(device)
    if (end === undefined) {
      const { client, user, ip } = device.sender
      const { qos = 0, retain = false } = device.group
      end = `,${JSON.stringify({ client, user, ip, qos, retain }).slice(1)}`
      this.#lineEnds.set(device, end)
    }
    return end
  }
}
