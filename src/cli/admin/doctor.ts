import type { ServerCheck, Status } from '../../admin/schemas/overview.ts'
import { formatProblem, type Problem } from '../../core/errors.ts'
import { EXIT } from '../terminal/command-error.ts'
import { formatWait, sanitizeForTerminal } from '../terminal/format.ts'
import type { AdminClient } from './client.ts'
import type { CommandOutput } from './run.ts'

interface RuleRow {
  readonly name: string
  readonly enabled: boolean
  readonly total: number
}

const OLDEST_NODE = 20
/** Up-time after which a rule without any decision is worth a look. */
const NEVER_HIT_MS = 3_600_000
const SLOW_STORE_MS = 100

/** Checks a running topicgate: exit code 1 if a check fails. */
export async function doctor(client: AdminClient): Promise<CommandOutput> {
  const checks: ServerCheck[] = [checkNodeVersion(process.versions.node)]
  const beganMs = performance.now()
  const status = await client.get<Status>('/status')
  checks.push(
    { name: 'reachable', result: 'ok', detail: `${client.address}, as ${status.caller} (${status.role})` },
    ...checkStoreHealth(status.store, performance.now() - beganMs),
    ...checkPolicyWarnings(await client.get<{ warnings: readonly Problem[] }>('/policy')),
    checkRules(await readRules(client), status.uptimeMs),
    ...(await client.get<{ checks: readonly ServerCheck[] }>('/checks')).checks,
    ...checkAlerts(await client.get<{ firing: readonly { text: string }[] }>('/alerts')),
  )
  const hasFailed = checks.some(({ result }) => result === 'failed')
  const marks = { ok: 'ok     ', warning: 'warning', failed: 'FAILED ' }
  return {
    json: { ok: !hasFailed, checks },
    lines: checks.map(
      ({ name, result, detail }) => `${marks[result]}  ${name}: ${sanitizeForTerminal(detail, 300)}`,
    ),
    exitCode: hasFailed ? EXIT.failed : EXIT.fine,
  }
}

/** Checks the version of Node that runs this command. */
export function checkNodeVersion(version: string): ServerCheck {
  const isOld = Number(version.split('.')[0]) < OLDEST_NODE
  return {
    name: 'node',
    result: isOld ? 'failed' : 'ok',
    detail: isOld ? `${version} is older than ${OLDEST_NODE}` : version,
  }
}

/** Checks the store by the health that it reports. `tookMs` includes the request. */
export function checkStoreHealth(store: Status['store'], tookMs: number): readonly ServerCheck[] {
  const { name, ok, state, detail, warnings = [], overflows = 0 } = store
  const took = `${name} answered in ${formatWait(Math.ceil(tookMs))}`
  const checks: ServerCheck[] = []
  if (!ok)
    checks.push({
      name: 'store',
      result: 'failed',
      detail: `${name} is ${state ?? 'down'}: ${detail ?? 'no reason is known'}`,
    })
  else if (tookMs > SLOW_STORE_MS) checks.push({ name: 'store', result: 'warning', detail: took })
  else checks.push({ name: 'store', result: 'ok', detail: took })
  for (const warning of warnings) checks.push({ name: 'store settings', result: 'warning', detail: warning })
  if (overflows > 0)
    checks.push({
      name: 'store size',
      result: 'warning',
      detail: `${overflows} charges shared a counter: a rule has too many keys`,
    })
  return checks
}

/** Checks the policy in force for probable mistakes. */
export function checkPolicyWarnings({
  warnings,
}: {
  readonly warnings: readonly Problem[]
}): readonly ServerCheck[] {
  if (warnings.length === 0) return [{ name: 'policy', result: 'ok', detail: 'no warnings' }]
  return warnings.map(each => ({ name: 'policy', result: 'warning', detail: formatProblem(each) }))
}

/** Checks for rules that decided nothing. */
export function checkRules(rules: readonly RuleRow[], uptimeMs: number): ServerCheck {
  const idle = rules.filter(({ enabled, total }) => enabled && total === 0).map(({ name }) => name)
  return uptimeMs >= NEVER_HIT_MS && idle.length > 0
    ? { name: 'rules never hit', result: 'warning', detail: idle.join(', ') }
    : { name: 'rules', result: 'ok', detail: `${rules.length} rules` }
}

function checkAlerts({
  firing,
}: {
  readonly firing: readonly { readonly text: string }[]
}): readonly ServerCheck[] {
  if (firing.length === 0) return [{ name: 'alerts', result: 'ok', detail: 'none fires' }]
  return firing.map(({ text }) => ({ name: 'alert', result: 'failed', detail: text }))
}

async function readRules(client: AdminClient): Promise<readonly RuleRow[]> {
  const { rules } = await client.get<{ rules: readonly RuleRow[] }>('/rules?limit=1000')
  // Rules of tiers are many, and most are unused.
  return rules.filter(({ name }) => !name.startsWith('tier:'))
}
