import type { Logger } from 'pino'
import type { CapturingWorker } from '../capture/live-capture-options.ts'
import type { Terminal } from '../terminal/terminal.ts'
import type { PreparedServer, ServerOptions, ServerPreparation } from './server-types.ts'

/** Reads the files of a server, which records a capture if its options say so. */
export async function prepareServer(
  { capture }: ServerOptions,
  worker: CapturingWorker | undefined,
  terminal: Terminal,
  prepare: ServerPreparation,
  log: Logger,
): Promise<PreparedServer> {
  const prepared = await prepare(log)
  if (capture === undefined) return prepared
  const { withCapture } = await import('./live-capture.ts')
  return withCapture(prepared, capture, worker, terminal, log)
}
