import { closeSync, openSync, writeSync } from 'node:fs'
import { gzipSync } from 'node:zlib'
import { CommandError, EXIT } from '../command-error.ts'
import { type Terminal, write } from '../terminal.ts'
import type { SimulatedDevice } from './simulated-device.ts'
import type { FleetEvent } from './simulated-fleet.ts'

/** Characters collected before they are written. */
const BATCH_CHARS = 262_144

/**
 * Writes events of a fleet as a capture: to a file, compressed if its name ends with .gz, or to the standard output for
 * `-`. A compressed file has one gzip member for each batch.
 */
export class CaptureWriter {
  readonly #path: string
  readonly #terminal: Terminal
  readonly #file: number | undefined
  readonly #lineEnds = new Map<SimulatedDevice, string>()
  #batch = ''

  /** Throws CommandError if the file cannot be written. */
  constructor(path: string, terminal: Terminal) {
    this.#path = path
    this.#terminal = terminal
    if (path !== '-') this.#file = this.#explained(() => openSync(path, 'w'))
  }

  /** Adds a line for a message or connect at a time. Returns true if `flush` should be awaited. */
  record({ action, device }: FleetEvent, atMs: number): boolean {
    if (action === 'disconnect') return false
    this.#batch +=
      action === 'publish'
        ? `{"at":${atMs},"topic":${JSON.stringify(device.topic)},"size":${device.size}${this.#lineEnd(device)}`
        : `{"at":${atMs},"topic":"connect","on":"connect"${this.#lineEnd(device)}`
    return this.#batch.length >= BATCH_CHARS
  }

  /** Writes the lines so far. Rejects with CommandError if that fails. */
  async flush(): Promise<void> {
    const batch = this.#batch
    this.#batch = ''
    if (batch === '') return
    const file = this.#file
    if (file === undefined) await write(this.#terminal.stdout, batch)
    else
      this.#explained(() => writeAll(file, this.#path.endsWith('.gz') ? gzipSync(batch) : Buffer.from(batch)))
  }

  async close(): Promise<void> {
    try {
      await this.flush()
    } finally {
      if (this.#file !== undefined) closeSync(this.#file)
    }
  }

  #lineEnd(device: SimulatedDevice): string {
    let end = this.#lineEnds.get(device)
    if (end === undefined) {
      const { client, user, ip } = device.sender
      const { qos = 0, retain = false } = device.group
      end = `,${JSON.stringify({ client, user, ip, qos, retain }).slice(1)}\n`
      this.#lineEnds.set(device, end)
    }
    return end
  }

  #explained<T>(run: () => T): T {
    try {
      return run()
    } catch (cause) {
      const { code = '' } = cause as NodeJS.ErrnoException
      throw new CommandError(
        `${this.#path}: the capture cannot be written: ${code} (name another file)`,
        EXIT.failed,
        {
          cause,
        },
      )
    }
  }
}

function writeAll(file: number, bytes: Buffer): void {
  for (let written = 0; written < bytes.length; ) written += writeSync(file, bytes, written)
}
