import type { Command } from 'commander'
import { parsePercent } from '../../core/units.ts'
import { parsePercentArgument } from '../arguments/parse-argument-values.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import { formatNumberOf, formatPercent, sanitizeForTerminal, toPercent } from '../terminal/format.ts'
import { changePolicy } from './change-policy.ts'
import type { AdminClient } from './client.ts'
import type { AddAdminCommand, SetAction } from './entry-commands.ts'
import { type CommandOutput, encodePathSegment } from './run.ts'

/** Adds the command promote, which takes a rule or the policy out of shadow, at once or in steps. */
export function addPromoteCommand(program: Command, add: AddAdminCommand, action: SetAction): void {
  const promote = add(program, 'promote', 'let a rule in shadow refuse, in the overlay')
    .argument('[rule]', 'its name')
    .option('--policy', 'the whole policy in shadow instead of one rule')
    .option('--enforce <share>', 'for so many of the senders, as 10%; default: all', parsePercentArgument)
    .requiredOption('--reason <text>', 'the reason, for the audit log')
  action(promote, (client, [rule], { policy, enforce = 1, reason }) => {
    const step = { enforced: enforce as number, reason: reason as string }
    if ((rule === undefined) !== (policy === true))
      throw new CommandError('name what to promote (a rule, or --policy)', EXIT.usage)
    return rule === undefined ? promotePolicy(client, step) : promoteRule(client, rule, step)
  })
}

interface PromotionStep {
  /** Share of the senders for which it is to refuse, above 0 and up to 1. */
  readonly enforced: number
  readonly reason: string
}

async function promoteRule(client: AdminClient, rule: string, step: PromotionStep): Promise<CommandOutput> {
  const path = `/rules/${encodePathSegment(rule)}`
  const name = sanitizeForTerminal(rule)
  const { shadowShare, shadow } = await client.get<{ shadowShare: number; shadow: number }>(path)
  const shadowWord = nextShadow(`rule ${name}`, shadowShare, step)
  const { json, lines } = await changePolicy(client, 'PUT', path, { shadow: shadowWord, reason: step.reason })
  return {
    json,
    lines: [
      `${name} refuses from now on${describeShare(step)}; in shadow: ${formatNumberOf(shadow, 'message')}`,
      ...lines,
    ],
  }
}

async function promotePolicy(client: AdminClient, step: PromotionStep): Promise<CommandOutput> {
  const { document } = await client.get<{ document: { shadow?: boolean | string } | null }>('/policy')
  const { shadow = false } = document ?? {}
  const share = typeof shadow === 'string' ? parsePercent(shadow) : Number(shadow)
  const shadowWord = nextShadow('the policy', share, step)
  const body = { shadow: shadowWord, reason: step.reason }
  const { json, lines } = await changePolicy(client, 'PUT', '/policy/shadow', body)
  return { json, lines: [`the policy refuses from now on${describeShare(step)}`, ...lines] }
}

/** Returns the new `shadow` of a rule or policy. Throws CommandError unless it refuses for more senders than before. */
function nextShadow(name: string, shadowShare: number, { enforced }: PromotionStep): string | false {
  if (shadowShare === 0) throw new CommandError(`${name} is not in shadow`, EXIT.failed)
  const next = toPercent(1 - enforced)
  if (next >= toPercent(shadowShare)) {
    const now = formatPercent(1 - shadowShare)
    throw new CommandError(`${name} refuses for ${now} of the senders already (enforce more)`, EXIT.failed)
  }
  return next === 0 ? false : `${next}%`
}

function describeShare({ enforced }: PromotionStep): string {
  return enforced === 1 ? '' : ` for ${formatPercent(enforced)} of the senders`
}
