import { readdirSync, readFileSync, statSync } from 'node:fs'
import { connect } from 'node:net'
import type { ServerCheck } from './schemas/overview.ts'
import type { AdminState, FurtherChecks } from './state/admin-state.ts'

const LISTENER_TIMEOUT_MS = 2_000
const FILE_SHARE_WARNING = 0.8
const CLOCK_OFFSET_WARNING_MS = 1_000
const DAY_MS = 86_400_000
const SHADOW_WARNING_DAYS = 30

/** Runs the checks of a node for `topicgate doctor`. Charges nothing. */
export async function runServerChecks(
  state: AdminState,
  options: Parameters<FurtherChecks>[0],
): Promise<readonly ServerCheck[]> {
  const { clockOffsetMs } = await state.readStoreHealth()
  const listeners = await Promise.all(state.listeners.map(checkListener))
  return [
    ...listeners,
    checkOpenFiles('/proc/self', state.broker?.stats().connections),
    ...(clockOffsetMs === undefined ? [] : [checkClockOffset(clockOffsetMs)]),
    ...checkShadowRules(state),
    ...(await state.furtherChecks(options)),
  ]
}

/** Connects to a listener as a client does. Why: it may be closed while the admin server still answers. */
async function checkListener(url: string): Promise<ServerCheck> {
  const { hostname, port } = new URL(url)
  const host = hostname.replace(/^\[|\]$/g, '')
  const reachable = host === '0.0.0.0' ? '127.0.0.1' : host === '::' ? '::1' : host
  const problem = await new Promise<string | undefined>(resolve => {
    const socket = connect({ host: reachable, port: Number(port), timeout: LISTENER_TIMEOUT_MS })
    const end = (text?: string): void => {
      socket.destroy()
      resolve(text)
    }
    socket.once('connect', () => end())
    socket.once('timeout', () => end('no answer'))
    socket.once('error', ({ message }) => end(message))
  })
  return problem === undefined
    ? { name: 'port', result: 'ok', detail: `${url} accepts connections` }
    : { name: 'port', result: 'failed', detail: `${url} accepts no connection: ${problem}` }
}

interface OpenFiles {
  readonly open: number
  readonly limit: number
}

/** Reads the open files of a process and their limit; undefined on systems without /proc. */
function readOpenFiles(folder: string): OpenFiles | undefined {
  try {
    const [, limit] = /^Max open files\s+(\d+)/m.exec(readFileSync(`${folder}/limits`, 'utf8')) ?? []
    return {
      open: readdirSync(`${folder}/fd`).length,
      limit: limit === undefined ? Infinity : Number(limit),
    }
  } catch {
    return undefined
  }
}

/**
 * Checks the open files of a process against their limit, because each connection needs one. `folder` is that of the
 * process in /proc.
 */
export function checkOpenFiles(folder: string, connections: number | undefined): ServerCheck {
  const name = 'file descriptors'
  const files = readOpenFiles(folder)
  if (files === undefined) return { name, result: 'ok', detail: 'unknown on this system' }
  const clients = connections === undefined ? '' : `, ${connections} of them connections of clients`
  const detail = `${files.open} of ${files.limit} are in use${clients}`
  if (files.open < FILE_SHARE_WARNING * files.limit) return { name, result: 'ok', detail }
  return { name, result: 'warning', detail: `${detail} (raise ulimit -n)` }
}

/** Checks the clock of the store against that of this node: limits and expiry depend on both. */
function checkClockOffset(offsetMs: number): ServerCheck {
  const direction = offsetMs < 0 ? 'behind' : 'ahead'
  const detail = `the clock of the store is ${Math.abs(Math.round(offsetMs))} ms ${direction}`
  return Math.abs(offsetMs) < CLOCK_OFFSET_WARNING_MS
    ? { name: 'clock', result: 'ok', detail }
    : { name: 'clock', result: 'warning', detail: `${detail} (synchronise the clocks with NTP)` }
}

/** Checks for rules that only observe although the file that says so is old. */
function checkShadowRules({ gate, startedAtMs }: AdminState): readonly ServerCheck[] {
  const observed = gate.rules().filter(rule => (gate.ruleOf(rule)?.shadowShare ?? 0) > 0)
  const agesDays = observed.map(rule => {
    const index = gate.policy?.document.rules?.findIndex(({ name }) => name === rule) ?? -1
    const file = gate.policy?.locate(`rules[${index}]`).file
    const sinceMs = (file === undefined ? undefined : modifiedAtMs(file)) ?? startedAtMs
    return { rule, days: Math.floor((gate.clock.now() - sinceMs) / DAY_MS) }
  })
  return agesDays.map(({ rule, days }) => {
    const name = 'rule in shadow'
    if (days < SHADOW_WARNING_DAYS)
      return { name, result: 'ok', detail: `${rule}, for at least ${days} days` }
    const remedy = 'enforce it, or remove it'
    return { name, result: 'warning', detail: `${rule}, for more than ${days} days (${remedy})` }
  })
}

function modifiedAtMs(file: string): number | undefined {
  return statSync(file, { throwIfNoEntry: false })?.mtimeMs
}
