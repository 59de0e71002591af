import { EXIT } from '../terminal/command-error.ts'
import { PressedKeys } from '../terminal/pressed-keys.ts'
import { RedrawnLines } from '../terminal/redrawn-lines.ts'
import { type Terminal, write } from '../terminal/terminal.ts'
import { TerminationSignalWaiter } from '../terminal/termination-signal-waiter.ts'
import type { ConnectionFlags } from './client.ts'
import { runAdminCommand } from './run.ts'

const REFRESH_MS = 1_000
const ENDING_KEYS: readonly string[] = ['q', 'ctrl-c', 'ctrl-d']

/** View that is read and shown every second. */
export interface LiveView {
  /** Returns the lines to show. */
  read(): Promise<readonly string[]>
  /** Handles a key; the view is shown again at once. `q` and Ctrl-C end it. */
  onKey?(name: string): void
}

/**
 * Shows a view every second until SIGINT or `q`: in place on a terminal, otherwise one after the other, as with --json.
 * Prints an error of `read` like other commands, and returns its exit code.
 */
export async function showLiveView(
  view: LiveView,
  flags: ConnectionFlags,
  terminal: Terminal,
): Promise<number> {
  const { stdin, stdout } = terminal
  const screen = stdout.isTTY === true && !flags.json ? new RedrawnLines(stdout) : undefined
  const stop = new TerminationSignalWaiter()
  let isStopped = false
  let wake = (): void => {}
  const end = (): void => {
    isStopped = true
    wake()
  }
  void stop.received.then(end)
  const keys = new PressedKeys(stdin, name => {
    if (ENDING_KEYS.includes(name)) return end()
    view.onKey?.(name)
    wake()
  })
  try {
    while (!isStopped) {
      let timer: NodeJS.Timeout | undefined
      // Made before the view is read, so that a key pressed meanwhile shows it again.
      const next = new Promise<void>(resolve => {
        wake = resolve
        timer = setTimeout(resolve, REFRESH_MS)
      })
      const lines = await view.read()
      if (screen === undefined) await write(stdout, lines.map(line => `${line}\n`).join(''))
      else screen.draw(lines)
      await next
      clearTimeout(timer)
    }
  } catch (error) {
    return await runAdminCommand(flags, terminal, () => Promise.reject(error))
  } finally {
    keys.release()
    stop.release()
  }
  return EXIT.fine
}
