import type { Logger } from 'pino'
import { formatProblem, PolicyError } from '../../core/errors.ts'
import type { Gate } from '../../index.ts'

/** Logs the warnings of a gate, and the factor of its limits. */
export function logGateWarnings(gate: Gate, log: Logger): void {
  gate.on('warning', warning =>
    log.warn(
      warning,
      warning.kind === 'limit_near' ? 'a key is close to its limit' : 'a rule has more keys than its maximum',
    ),
  )
  gate.on('scaled', scaled => log.info({ factor: 1, ...scaled }, 'limits are scaled by the load'))
}

/** Logs each change of the policy, and why one was refused. */
export function logPolicyChanges(gate: Gate, log: Logger): void {
  gate.on('policy', change => {
    if (change.kind === 'applied') log.info({ rules: countPolicyRules(change.rules) }, 'policy reloaded')
    else logFileError(log, change.error, 'the policy was not reloaded, the old one stays')
  })
}

/** Limits of exemptions are named with a prefix that policy rules cannot have. */
export function countPolicyRules(names: readonly string[]): number {
  return names.filter(name => !name.startsWith('exempt:')).length
}

/** Logs every problem in a line of its own, with its position in the file, and then the consequence. */
export function logFileError(log: Logger, error: unknown, consequence: string): void {
  if (!(error instanceof PolicyError)) {
    log.error({ err: error }, consequence)
    return
  }
  for (const problem of error.problems) log.error({ ...problem, message: undefined }, formatProblem(problem))
  log.error({ problems: error.problems.length }, consequence)
}
