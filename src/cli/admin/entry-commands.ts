import type { Command } from 'commander'
import { appendOptionValue } from '../arguments/parse-argument-values.ts'
import { formatTable, sanitizeForTerminal } from '../terminal/format.ts'
import type { AdminClient } from './client.ts'
import { describeEntryTerms } from './render-card.ts'
import { type CommandOutput, encodePathSegment } from './run.ts'

/** Adds a command whose action talks to a running topicgate. */
export type AddAdminCommand = (parent: Command, usage: string, description: string) => Command

/** Sets the action of a command: what it sends, and what it prints. */
export type SetAction = (
  command: Command,
  run: (
    client: AdminClient,
    args: readonly string[],
    flags: Readonly<Record<string, unknown>>,
  ) => Promise<CommandOutput>,
) => void

interface ListedEntry {
  readonly id: string
  readonly reason: string
  readonly addedBy: string
  readonly expiresAtMs?: number | undefined
  readonly limit?: string
  readonly tier?: string
  readonly outcome?: string
}

/** Adds the commands of runtime entries: ban, unban, override, exempt, tier. */
export function addEntryCommands(program: Command, add: AddAdminCommand, action: SetAction): void {
  const withReason = (command: Command): Command =>
    command.requiredOption('--reason <text>', 'the reason, for the audit log')
  const withChange = (command: Command): Command =>
    withReason(command)
      .option('--for <duration>', 'how long, as 15m; default: until it is removed')
      .option('--code <word>', 'a category of yours, as ticket-17')

  const ban = withChange(add(program, 'ban', 'refuse every message of a sender'))
    .argument('<sender>', 'as client:d7, user:ann, ip:10.0.0.0/8')
    .option('--outcome <outcome>', 'drop, reject or disconnect; default: reject')
  action(ban, (client, [id], { reason, for: length, code, outcome }) =>
    put(client, 'bans', id!, { reason, for: length, code, outcome }),
  )
  const unban = withReason(add(program, 'unban', 'lift a ban')).argument('<sender>', 'as client:d7')
  action(unban, (client, [id], { reason }) => remove(client, 'bans', id!, String(reason)))
  action(add(program, 'bans', 'list the bans'), client => list(client, 'bans'))

  const override = program.command('override').description('change the limits of a sender for a time')
  const set = withChange(add(override, 'set', 'set the limits of a sender'))
    .argument('<sender>', 'as client:d7')
    .requiredOption('--limit <limit>', 'unlimited, a factor as x2, or a rate as "100/s burst 200"')
    .option('--rule <name>', 'only of this rule; may be given several times', appendOptionValue)
  action(set, (client, [id], { reason, for: length, code, limit, rule }) =>
    put(client, 'overrides', id!, { reason, for: length, code, limit, rules: rule }),
  )
  addListAndRemove(override, 'overrides')

  const exempt = program
    .command('exempt')
    .alias('whitelist')
    .description('let senders or topics pass for a time')
  const senders = ['client', 'device', 'user', 'role', 'ip', 'topic']
  const addExempt = withChange(add(exempt, 'add', 'add an exemption')).argument('<name>', 'its name')
  for (const part of senders)
    addExempt.option(`--${part} <${part}>`, 'may be given several times', appendOptionValue)
  action(addExempt, (client, [name], { reason, for: length, code, ...flags }) => {
    const lists = senders.filter(part => flags[part] !== undefined).map(part => [`${part}s`, flags[part]])
    return put(client, 'exemptions', name!, { reason, for: length, code, ...Object.fromEntries(lists) })
  })
  addListAndRemove(exempt, 'exemptions')

  const tier = program.command('tier').description('assign tiers to senders')
  const setTier = withChange(add(tier, 'set', 'assign a tier'))
    .argument('<sender>', 'as user:ann')
    .argument('<tier>', 'a tier of the policy')
  action(setTier, (client, [id, name], { reason, for: length, code }) =>
    put(client, 'tiers', id!, { reason, for: length, code, tier: name }),
  )
  addListAndRemove(tier, 'tiers')

  function addListAndRemove(parent: Command, path: string): void {
    action(add(parent, 'ls', 'list them'), client => list(client, path))
    const rm = withReason(add(parent, 'rm', 'remove one')).argument('<id>', 'as ls prints it')
    action(rm, (client, [id], { reason }) => remove(client, path, id!, String(reason)))
  }
}

async function put(client: AdminClient, path: string, id: string, body: object): Promise<CommandOutput> {
  const changed = await client.send<{
    entry: ListedEntry
    persisted: boolean
    nodes: { confirmed: readonly string[]; pending: readonly string[] }
  }>('PUT', `/${path}/${encodePathSegment(id)}`, body)
  const { confirmed, pending } = changed.nodes
  const where = changed.persisted ? 'kept in the store' : 'in this process only'
  const others = [
    ...(confirmed.length > 1 ? [`in effect on ${sanitizeForTerminal(confirmed.join(', '))}`] : []),
    ...(pending.length > 0 ? [`not confirmed by ${sanitizeForTerminal(pending.join(', '))}`] : []),
  ]
  return {
    json: changed,
    lines: [
      `${sanitizeForTerminal(changed.entry.id)} ${describeEntryTerms(changed.entry, Date.now())}; ${[where, ...others].join('; ')}`,
    ],
  }
}

async function remove(client: AdminClient, path: string, id: string, reason: string): Promise<CommandOutput> {
  await client.send('DELETE', `/${path}/${encodePathSegment(id)}?reason=${encodePathSegment(reason)}`)
  return { json: { removed: id }, lines: [`removed ${sanitizeForTerminal(id)}`] }
}

/** Lists all entries, page by page. */
async function list(client: AdminClient, path: string): Promise<CommandOutput> {
  const entries: ListedEntry[] = []
  let next: string | null = null
  do {
    const cursor: string = next === null ? '' : `&cursor=${encodePathSegment(next)}`
    const page: { entries: readonly ListedEntry[]; next: string | null } = await client.get(
      `/${path}?limit=1000${cursor}`,
    )
    entries.push(...page.entries)
    next = page.next
  } while (next !== null)
  const nowMs = Date.now()
  const rows = entries.map(each => [
    sanitizeForTerminal(each.id),
    each.limit ?? each.tier ?? each.outcome ?? '',
    describeEntryTerms(each, nowMs),
  ])
  return { json: { entries }, lines: entries.length === 0 ? ['none'] : formatTable(['id', '', ''], rows) }
}
