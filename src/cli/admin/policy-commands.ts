import { readFile } from 'node:fs/promises'
import type { Command } from 'commander'
import { formatProblem, type Problem } from '../../core/errors.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import {
  formatCount,
  formatPercent,
  formatShare,
  formatTable,
  sanitizeForTerminal,
} from '../terminal/format.ts'
import { changePolicy } from './change-policy.ts'
import type { AddAdminCommand, SetAction } from './entry-commands.ts'
import { addPromoteCommand } from './promote-command.ts'
import { encodePathSegment } from './run.ts'

interface RuleRow {
  readonly name: string
  readonly enabled: boolean
  readonly shadowShare: number
  readonly pattern?: string
  readonly per: readonly string[]
  readonly total: number
  readonly denied: number
}

/** Adds the commands of the policy and its rules: policy, rules, promote, reload. */
export function addPolicyAdminCommands(program: Command, add: AddAdminCommand, action: SetAction): void {
  const withReason = (command: Command): Command =>
    command.requiredOption('--reason <text>', 'the reason, for the audit log')

  const reload = withReason(add(program, 'reload', 'read the policy files again and put them in force'))
  action(reload, (client, _args, { reason }) => changePolicy(client, 'POST', '/policy/reload', { reason }))

  const policy = program.command('policy').description('show and change the policy of a running topicgate')
  action(add(policy, 'get', 'print the policy in force, without its secrets'), async client => {
    const json = await client.get<{ document: unknown }>('/policy')
    return { json, lines: [JSON.stringify(json.document, null, 2)] }
  })
  const put = withReason(add(policy, 'put', 'replace the overlay')).argument('<file>', 'the new overlay')
  action(put, async (client, [file], { reason }) => {
    const { etag } = await client.get<{ etag: string }>('/policy')
    const overlay = await readOverlay(file!)
    return changePolicy(client, 'PUT', '/policy/overlay', { overlay, reason }, { 'if-match': `"${etag}"` })
  })
  const check = add(policy, 'check', 'check an overlay; exit code 1 if it has problems').argument(
    '<file>',
    'the overlay',
  )
  action(check, async (client, [file]) => {
    const body = { overlay: await readOverlay(file!) }
    const json = await client.send<{ ok: boolean; problems: Problem[]; warnings: Problem[] }>(
      'POST',
      '/policy/validate',
      body,
    )
    const lines = [...json.problems, ...json.warnings].map(formatProblem)
    return { json, lines: lines.length > 0 ? lines : ['ok'], exitCode: json.ok ? EXIT.fine : EXIT.failed }
  })
  const diff = add(policy, 'diff', 'print what an overlay would change').argument('<file>', 'the overlay')
  action(diff, async (client, [file]) => {
    const body = { overlay: await readOverlay(file!) }
    const json = await client.send<{
      added: string[]
      removed: string[]
      changed: { rule: string; before: unknown; after: unknown }[]
      other: string[]
    }>('POST', '/policy/diff', body)
    const lines = [
      ...json.added.map(name => `+ ${name}`),
      ...json.removed.map(name => `- ${name}`),
      ...json.changed.map(
        ({ rule, before, after }) => `~ ${rule}: ${JSON.stringify(before)} → ${JSON.stringify(after)}`,
      ),
      ...json.other.map(part => `~ ${part}`),
    ]
    return {
      json,
      lines: lines.length > 0 ? lines.map(line => sanitizeForTerminal(line, 500)) : ['no change'],
    }
  })
  action(add(policy, 'versions', 'list the versions of the overlay'), async client => {
    const json = await client.get<{ versions: { id: number; atMs: number; by: string; reason: string }[] }>(
      '/policy/versions',
    )
    const rows = json.versions.map(({ id, atMs, by, reason }) => [
      String(id),
      new Date(atMs).toISOString(),
      sanitizeForTerminal(by),
      sanitizeForTerminal(reason),
    ])
    return { json, lines: formatTable(['version', 'at', 'by', 'reason'], rows) }
  })
  const rollback = withReason(add(policy, 'rollback', 'put an earlier version in force')).argument(
    '<version>',
    'its number',
  )
  action(rollback, (client, [to], { reason }) =>
    changePolicy(client, 'POST', '/policy/rollback', { to: Number(to), reason }),
  )

  const rules = program.command('rules').description('show and change the rules of a running topicgate')
  action(add(rules, 'ls', 'list the rules with their counts'), async client => {
    const json = await client.get<{ rules: readonly RuleRow[] }>('/rules?limit=1000')
    const rows = json.rules.map(({ name, enabled, shadowShare, pattern, per, total, denied }) => [
      sanitizeForTerminal(name, 40),
      describeRuleState(enabled, shadowShare),
      sanitizeForTerminal(pattern ?? 'all topics', 40),
      per.join('+'),
      formatCount(total),
      formatShare(denied, total),
    ])
    return { json, lines: formatTable(['rule', '', 'topics', 'per', 'decisions', 'refused'], rows) }
  })
  const withFields = (command: Command): Command =>
    withReason(command)
      .option('--topic <pattern>', 'its topics')
      .option('--per <scope>', 'what it counts by, as client')
      .option('--limit <rate>', 'as "10/s burst 50"')
      .option('--quota <quota>', 'as 10000/day')
      .option('--exceeded <outcome>', 'as drop')
      .option('--shadow [share]', 'only observe; with a share as 90%, so many of the senders')
  const fieldsOf = ({
    reason,
    topic,
    per,
    limit,
    quota,
    exceeded,
    shadow,
  }: Readonly<Record<string, unknown>>): object => ({
    reason,
    topic,
    per,
    limit,
    quota,
    exceeded,
    shadow,
  })
  const addRule = withFields(add(rules, 'add', 'add a rule to the overlay')).argument('<name>', 'its name')
  action(addRule, (client, [name], flags) =>
    changePolicy(client, 'POST', `/rules/${encodePathSegment(name!)}`, fieldsOf(flags)),
  )
  const setRule = withFields(add(rules, 'set', 'change fields of a rule')).argument('<name>', 'its name')
  action(setRule, (client, [name], flags) =>
    changePolicy(client, 'PUT', `/rules/${encodePathSegment(name!)}`, fieldsOf(flags)),
  )
  for (const [word, enabled] of [
    ['enable', true],
    ['disable', false],
  ] as const) {
    const command = withReason(add(rules, word, `${word} a rule`)).argument('<name>', 'its name')
    action(command, (client, [name], { reason }) =>
      changePolicy(client, 'PUT', `/rules/${encodePathSegment(name!)}`, { enabled, reason }),
    )
  }
  addPromoteCommand(program, add, action)
  const rm = withReason(add(rules, 'rm', 'remove a rule of the overlay')).argument('<name>', 'its name')
  action(rm, (client, [name], { reason }) =>
    changePolicy(
      client,
      'DELETE',
      `/rules/${encodePathSegment(name!)}?reason=${encodePathSegment(String(reason))}`,
    ),
  )
}

function describeRuleState(enabled: boolean, shadowShare: number): string {
  if (!enabled) return 'off'
  if (shadowShare === 0) return 'on'
  return shadowShare === 1 ? 'shadow' : `shadow ${formatPercent(shadowShare)}`
}

async function readOverlay(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    const { code = String(cause) } = cause as NodeJS.ErrnoException
    throw new CommandError(`${file} cannot be read: ${code}`, EXIT.usage, { cause })
  }
}
