import { createWriteStream } from 'node:fs'
import type { Gate } from '../gate/gate.ts'
import type { GateEvents } from '../gate/gate-events.ts'

/** Append-only audit log. */
export interface AuditLog {
  /** Writes pending records, unsubscribes from the gate and closes the file. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Appends each ban, override, exemption and tier with author, target, time and reason to a file readable by its owner
 * only, as one JSON object per line. Write errors are logged and delay nothing.
 */
export function keepAuditLog(gate: Gate, path: string): AuditLog {
  const file = createWriteStream(path, { flags: 'a', mode: 0o600 })
  file.on('error', err => gate.logger.error({ err, path }, 'the audit log cannot be written'))
  const write = (change: GateEvents['audit'][0]): void => {
    file.write(`${JSON.stringify({ at: new Date(change.atMs).toISOString(), ...change })}\n`)
  }
  gate.on('audit', write)
  return {
    [Symbol.asyncDispose]() {
      return this.close()
    },
    close() {
      gate.off('audit', write)
      return new Promise(resolve => {
        file.once('close', resolve)
        file.destroyed ? resolve() : file.end()
      })
    },
  }
}
