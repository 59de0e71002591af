import { createWriteStream } from 'node:fs'
import type { Gate } from '../gate/gate.ts'
import type { GateEvents } from '../gate/gate-events.ts'

/** A file that is only ever written to at its end. */
export interface AuditLog {
  /** Writes what was told, follows the gate no more, and closes the file. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Keeps who banned, exempted or favoured whom, when and why, one JSON object a line, at the end of a file that only its
 * owner may read. What cannot be written is told to the gate's logger, and nothing else is held up by it.
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
