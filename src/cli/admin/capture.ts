import { EXIT } from '../command-error.ts'
import { type Terminal, write } from '../terminal.ts'
import { TerminationSignalWaiter } from '../termination-signal-waiter.ts'
import { type ConnectionFlags, openAdminClient } from './client.ts'
import { runAdminCommand } from './run.ts'

export interface CaptureFlags extends ConnectionFlags {
  readonly for?: string
  readonly max?: number
  readonly client?: string
  readonly topic?: string
  readonly hashSenders?: boolean
  readonly reason: string
}

/** Prints the messages that a running topicgate decides, as a capture for `topicgate replay`. */
export async function captureMessages(flags: CaptureFlags, terminal: Terminal): Promise<number> {
  const stop = new TerminationSignalWaiter()
  const abort = new AbortController()
  void stop.received.then(() => abort.abort())
  const { max, client, topic, reason } = flags
  const body = { for: flags.for, max, client, topic, reason, senders: flags.hashSenders ? 'hashes' : 'names' }
  const decoder = new TextDecoder()
  const print = (chunk: Buffer): Promise<void> =>
    write(terminal.stdout, decoder.decode(chunk, { stream: true }))
  try {
    await openAdminClient(flags, terminal.env).pipe('/capture', body, print, abort.signal)
  } catch (error) {
    return runAdminCommand(flags, terminal, () => Promise.reject(error))
  } finally {
    stop.release()
  }
  return EXIT.fine
}
