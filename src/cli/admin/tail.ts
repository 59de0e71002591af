import type { RefusalJson } from '../../admin/schemas/senders.ts'
import { EXIT } from '../terminal/command-error.ts'
import { sanitizeForTerminal } from '../terminal/format.ts'
import { type Terminal, write } from '../terminal/terminal.ts'
import { TerminationSignalWaiter } from '../terminal/termination-signal-waiter.ts'
import { type ConnectionFlags, openAdminClient } from './client.ts'
import { runAdminCommand } from './run.ts'

export interface TailFlags extends ConnectionFlags {
  readonly rule?: string
  readonly client?: string
  readonly topic?: string
  /** Ends after so many refusals. */
  readonly max?: number
}

/** Prints each refusal with its reason until SIGINT; with --json a document a line. */
export async function tail(flags: TailFlags, terminal: Terminal): Promise<number> {
  const stop = new TerminationSignalWaiter()
  const abort = new AbortController()
  void stop.received.then(() => abort.abort())
  let shown = 0
  let printed: Promise<void> = Promise.resolve()
  const print = (text: string): void => {
    printed = printed.then(() => write(terminal.stdout, text))
  }
  const onEvent = (type: string, data: unknown): boolean => {
    if (type === 'lost') {
      const { count } = data as { readonly count: number | null }
      print(flags.json ? `${JSON.stringify({ lost: count })}\n` : `… ${count ?? 'some'} events were lost\n`)
      return true
    }
    if (type !== 'refusal') return true
    const refusal = data as RefusalJson & { readonly sender: string }
    print(flags.json ? `${JSON.stringify(refusal)}\n` : `${formatRefusal(refusal)}\n`)
    return ++shown < (flags.max ?? Infinity)
  }
  try {
    await openAdminClient(flags, terminal.env).follow(`/events?${queryOf(flags)}`, onEvent, abort.signal)
  } catch (error) {
    return runAdminCommand(flags, terminal, () => Promise.reject(error))
  } finally {
    stop.release()
    await printed
  }
  return EXIT.fine
}

/** Returns the query of the wanted refusals. */
function queryOf({ rule, client, topic }: TailFlags): string {
  const query = new URLSearchParams({ types: 'refusal' })
  if (rule !== undefined) query.set('rule', rule)
  if (client !== undefined) query.set('sender', `client:${client}`)
  if (topic !== undefined) query.set('topic', topic)
  return query.toString()
}

function formatRefusal({
  atMs,
  sender,
  topic,
  outcome,
  text,
  count,
}: RefusalJson & { readonly sender: string }): string {
  const times = count === 1 ? '' : ` ×${count}`
  const at = new Date(atMs).toISOString().slice(11, 23)
  return `${at}  ${sanitizeForTerminal(sender, 40)}  ${sanitizeForTerminal(topic, 60)}  ${outcome}${times}  ${sanitizeForTerminal(text, 160)}`
}
