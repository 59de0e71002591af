import type { CapturedFields } from '../../admin/state/captured-fields.ts'
import { type ConnectionFlags, openAdminClient } from '../admin/client.ts'
import { runAdminCommand } from '../admin/run.ts'
import { EXIT } from '../terminal/command-error.ts'
import type { Terminal } from '../terminal/terminal.ts'
import type { CaptureRecorder } from './capture-recorder.ts'
import { LineBlocks, splitLines } from './line-splitter.ts'

export interface GateCaptureFlags extends ConnectionFlags {
  /** Milliseconds. */
  readonly for?: number
  readonly max?: number
  readonly client?: string
  readonly topic?: string
  readonly hashSenders?: boolean
  readonly reason?: string
}

/** Captures the messages that a running topicgate decides. Returns the exit code. */
export async function captureFromGate(
  flags: GateCaptureFlags,
  recorder: CaptureRecorder,
  terminal: Terminal,
): Promise<number> {
  const abort = new AbortController()
  void recorder.ended.then(() => abort.abort())
  const { for: forMs, client, topic, reason, hashSenders } = flags
  const body = {
    for: forMs === undefined ? undefined : `${forMs}ms`,
    max: flags.max,
    client,
    topic,
    reason,
    senders: hashSenders ? 'hashes' : 'names',
  }
  const blocks = new LineBlocks()
  const record = async (chunk: Buffer): Promise<void> => {
    for (const line of splitLines(blocks.push(chunk))) recorder.record(JSON.parse(line) as CapturedFields)
    await recorder.drained()
  }
  try {
    await openAdminClient(flags, terminal.env).pipe('/capture', body, record, abort.signal)
  } catch (error) {
    return runAdminCommand(flags, terminal, () => Promise.reject(error))
  }
  return EXIT.fine
}
