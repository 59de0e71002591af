import pino, { type Logger } from 'pino'
import { printable } from './format.ts'
import { type Output, type Paint, paintFor, type Style, type Terminal } from './terminal.ts'

/** Characters that wait for a slow reader of the log; beyond them lines are left out and counted. */
const MOST_WAITING_CHARS = 1_048_576

const LEVELS: Readonly<Record<number, readonly [word: string, style: Style]>> = {
  10: ['trace', 'dim'],
  20: ['debug', 'dim'],
  30: ['info', 'green'],
  40: ['warn', 'yellow'],
  50: ['error', 'red'],
  60: ['fatal', 'red'],
}

/** Logs on the standard output: a line of JSON each, or of words where that is a screen and `json` is not asked for. */
export function openLog(level: string, json: boolean, terminal: Terminal): Logger {
  const { stdout, env } = terminal
  const pretty = stdout.isTTY === true && !json
  const paint = paintFor(stdout, env)
  const print = boundedPrinter(stdout)
  return pino(
    { level, base: null, timestamp: pino.stdTimeFunctions.isoTime },
    { write: (line: string) => print(pretty ? formatLogLine(line, paint) : line) },
  )
}

function boundedPrinter(output: Output): (line: string) => void {
  let leftOut = 0
  return line => {
    if (output.writableLength > MOST_WAITING_CHARS) {
      leftOut++
      return
    }
    if (leftOut > 0)
      output.write(`${JSON.stringify({ level: 40, leftOut, msg: 'the log was not read in time' })}\n`)
    leftOut = 0
    output.write(line)
  }
}

/** A line of pino's JSON for a screen: `12:00:00 info ready  port 1883`. */
export function formatLogLine(line: string, paint: Paint): string {
  const { level, time, msg, err, ...context } = JSON.parse(line) as Readonly<Record<string, unknown>>
  const [word, style] = LEVELS[Number(level)] ?? ['log', 'dim']
  const rest = Object.entries(context).map(([name, value]) => `${name} ${show(value)}`)
  const clock = String(time).slice(11, 19)
  const text = [paint('dim', clock), paint(style, word.padEnd(5)), printable(String(msg ?? ''), 1_000)]
  const stack =
    typeof err === 'object' && err !== null && 'message' in err ? `\n  ${String(err.message)}` : ''
  return `${text.join(' ')}${rest.length > 0 ? paint('dim', `  ${rest.join(', ')}`) : ''}${stack}\n`
}

function show(value: unknown): string {
  return printable(typeof value === 'string' ? value : (JSON.stringify(value) ?? ''))
}
