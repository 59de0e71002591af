import pino, { type Logger } from 'pino'
import { sanitizeForTerminal } from '../terminal/format.ts'
import { type OutputStream, type Paint, paintFor, type Style, type Terminal } from '../terminal/terminal.ts'

/** Maximum characters buffered for a slow reader of the log; above it lines are dropped and counted. */
const MAX_BUFFERED_CHARS = 1_048_576

const LEVELS: Readonly<Record<number, readonly [word: string, style: Style]>> = {
  10: ['trace', 'dim'],
  20: ['debug', 'dim'],
  30: ['info', 'green'],
  40: ['warn', 'yellow'],
  50: ['error', 'red'],
  60: ['fatal', 'red'],
}

/** Opens a log on the standard output: JSON lines, or text if that is a terminal and `json` is false. */
export function createLogger(level: string, json: boolean, terminal: Terminal): Logger {
  const { stdout, env } = terminal
  const pretty = stdout.isTTY === true && !json
  const paint = paintFor(stdout, env)
  const print = boundedPrinter(stdout)
  return pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    { write: (line: string) => print(pretty ? formatLogLine(line, paint) : line) },
  )
}

function boundedPrinter(output: OutputStream): (line: string) => void {
  let dropped = 0
  return line => {
    if (output.writableLength > MAX_BUFFERED_CHARS) {
      dropped++
      return
    }
    if (dropped > 0)
      output.write(
        `${JSON.stringify({ level: 40, leftOut: dropped, msg: 'the log was not read in time' })}\n`,
      )
    dropped = 0
    output.write(line)
  }
}

/**
 * Formats a line of pino's JSON as text: `12:00:00 info ready
 *
 * port 1883`.
 */
export function formatLogLine(line: string, paint: Paint): string {
  const { level, time, msg, err, ...context } = JSON.parse(line) as Readonly<Record<string, unknown>>
  const [word, style] = LEVELS[Number(level)] ?? ['log', 'dim']
  const rest = Object.entries(context).map(([name, value]) => `${name} ${formatValue(value)}`)
  const clock = String(time).slice(11, 19)
  const text = [
    paint('dim', clock),
    paint(style, word.padEnd(5)),
    sanitizeForTerminal(String(msg ?? ''), 1_000),
  ]
  const stack =
    typeof err === 'object' && err !== null && 'message' in err ? `\n  ${String(err.message)}` : ''
  return `${text.join(' ')}${rest.length > 0 ? paint('dim', `  ${rest.join(', ')}`) : ''}${stack}\n`
}

function formatValue(value: unknown): string {
  return sanitizeForTerminal(typeof value === 'string' ? value : (JSON.stringify(value) ?? ''))
}
