import { type Command, InvalidArgumentError, Option } from 'commander'
import type { AuditRecord } from '../../admin/audit-log.ts'
import type { SenderCard } from '../../admin/schemas/senders.ts'
import type { AdminClient, ConnectionFlags } from '../admin/client.ts'
import { type AddAdminCommand, addEntryCommands, type SetAction } from '../admin/entry-commands.ts'
import type { MetricsFlags } from '../admin/metrics.ts'
import { addPolicyAdminCommands } from '../admin/policy-commands.ts'
import { type CommandOutput, encodePathSegment, runAdminCommand } from '../admin/run.ts'
import { addCaptureCommand } from '../capture/capture-command.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import { formatCount, formatTable, formatUnits, formatWait, sanitizeForTerminal } from '../terminal/format.ts'
import { type Terminal, write } from '../terminal/terminal.ts'

/** Adds the commands that operate a running topicgate, over its socket or a URL. */
export function addAdminCommands(
  program: Command,
  terminal: Terminal,
  done: (exitCode: number) => void,
): void {
  const add: AddAdminCommand = (parent, usage, description) =>
    parent
      .command(usage)
      .description(description)
      .option(
        '--to <address>',
        'unix:PATH or a URL; default: TOPICGATE_ADMIN, the context, or unix:topicgate.sock',
      )
      .option('--token-file <file>', 'a file with the token; default: TOPICGATE_TOKEN')
      .option('--json', 'print one JSON document, also if it fails')
  const action: SetAction = (command, run) => {
    command.action(async () => {
      const flags = command.opts<ConnectionFlags & Record<string, unknown>>()
      done(await runAdminCommand(flags, terminal, client => run(client, command.args, flags)))
    })
  }

  const who = add(program, 'who', 'show the card of a sender: why it is refused, until when')
  who.argument('<sender>', 'as client:d7, user:ann, ip:10.0.0.1')
  action(who, async (client, [id]) => {
    const { renderCard } = await import('../admin/render-card.ts')
    const card = await client.get<SenderCard>(`/senders/${encodePathSegment(id!)}`)
    return { json: card, lines: renderCard(card, Date.now()) }
  })

  const topCommand = add(program, 'top', 'show rates, block rate and the most refused')
    .option('--once', 'show it once')
    .addOption(
      new Option('--by <order>', 'the most refused clients, or those with the most messages')
        .choices(['refused', 'rate'])
        .default('refused'),
    )
  topCommand.action(async () => {
    const { top } = await import('../admin/top.ts')
    done(await top(topCommand.opts(), terminal))
  })

  const tailCommand = add(program, 'tail', 'print each refusal with its reason')
    .option('--rule <name>', 'only those of a rule')
    .option('--client <id>', 'only those of a client')
    .option('--topic <pattern>', 'only those on matching topics')
    .option('--max <count>', 'end after so many', parseCount)
  tailCommand.action(async () => {
    const { tail } = await import('../admin/tail.ts')
    done(await tail(tailCommand.opts(), terminal))
  })

  addCaptureCommand(program, add, terminal, done)
  addEntryCommands(program, add, action)
  addPolicyAdminCommands(program, add, action)

  const reset = add(program, 'reset', 'forget the counts of a rule, of a sender, or all')
    .argument('[sender]', 'as client:d7')
    .option('--rule <name>', 'the counts of a rule')
    .option('--all', 'every count of every rule')
    .option('-y, --yes', 'do not ask for confirmation')
    .requiredOption('--reason <text>', 'the reason, for the audit log')
  action(reset, resetCounts)

  const metrics = add(program, 'metrics', 'show the counts of rules')
    .option('--rule <name>', 'of one rule')
    .option('--watch', 'show them every second')
  metrics.action(async () => {
    const flags = metrics.opts<MetricsFlags>()
    const { showMetrics, watchMetrics } = await import('../admin/metrics.ts')
    if (flags.watch === true) return done(await watchMetrics(flags, terminal))
    done(await runAdminCommand(flags, terminal, client => showMetrics(client, flags.rule)))
  })

  const keys = add(program, 'keys', 'list the counters of a rule with the least units left')
    .argument('<rule>', 'its name')
    .option('--limit <count>', 'how many', parseCount, 20)
  action(keys, async (client, [rule], { limit }) => {
    interface Row {
      readonly counter: string
      readonly used: number
      readonly remaining: number
      readonly resetMs: number
    }
    const json = await client.get<{ keys: readonly Row[]; unit: 'messages' | 'bytes' }>(
      `/rules/${encodePathSegment(rule!)}/keys?limit=${String(limit)}`,
    )
    const rows = json.keys.map(({ counter, used, remaining, resetMs }) => [
      sanitizeForTerminal(counter),
      formatUnits(used, json.unit),
      formatUnits(remaining, json.unit),
      formatWait(resetMs),
    ])
    return { json, lines: formatTable(['counter', 'used', 'left', 'full in'], rows) }
  })

  action(add(program, 'alerts', 'list the alerts that fire, and those resolved last'), async client => {
    const json = await client.get<{ firing: readonly { text: string; severity: string; sinceMs: number }[] }>(
      '/alerts',
    )
    const rows = json.firing.map(({ severity, sinceMs, text }) => [
      severity,
      new Date(sinceMs).toISOString(),
      sanitizeForTerminal(text),
    ])
    return {
      json,
      lines: rows.length > 0 ? formatTable(['severity', 'since', 'alert'], rows) : ['no alert fires'],
    }
  })

  const audit = add(program, 'audit', 'list the last changes, with author and reason').option(
    '--limit <count>',
    'how many',
    parseCount,
    20,
  )
  action(audit, async (client, _args, { limit }) => {
    const json = await client.get<{ records: readonly AuditRecord[] }>(`/audit?limit=${String(limit)}`)
    const rows = json.records.map(({ at, by, kind, action: verb, id, reason }) => [
      at,
      sanitizeForTerminal(by),
      `${kind} ${verb}`,
      sanitizeForTerminal(id),
      sanitizeForTerminal(reason),
    ])
    return { json, lines: formatTable(['at', 'by', 'change', 'of', 'reason'], rows) }
  })

  action(add(program, 'doctor', 'check a running topicgate; exit code 1 if a check fails'), async client => {
    const { doctor } = await import('../admin/doctor.ts')
    return doctor(client)
  })

  addContextCommands(program, terminal, done)
}

async function resetCounts(
  client: AdminClient,
  [sender]: readonly string[],
  { rule, all, yes, reason }: Readonly<Record<string, unknown>>,
): Promise<CommandOutput> {
  const isEverything = sender === undefined && rule === undefined
  if (isEverything !== (all === true)) {
    const remedy = 'topicgate reset client:d7, reset --rule NAME, or reset --all'
    throw new CommandError(`name what to reset (${remedy})`, EXIT.usage)
  }
  // A sender has few counters; those of a rule may be a million.
  if (sender === undefined && yes !== true)
    throw new CommandError('this forgets the counts of many senders (confirm it with --yes)', EXIT.usage)
  const confirm = isEverything ? 'all' : undefined
  const json = await client.send<{ keys: number }>('POST', '/reset', { sender, rule, confirm, reason })
  return { json, lines: [`${formatCount(json.keys)} counters forgotten`] }
}

function addContextCommands(program: Command, terminal: Terminal, done: (exitCode: number) => void): void {
  const context = program.command('context').description('name addresses of running topicgates')
  const print = async (json: unknown, lines: readonly string[], asJson = false): Promise<void> => {
    await write(
      terminal.stdout,
      asJson ? `${JSON.stringify(json)}\n` : lines.map(line => `${line}\n`).join(''),
    )
    done(EXIT.fine)
  }
  context
    .command('add')
    .description('add a context and use it')
    .argument('<name>', 'its name')
    .requiredOption('--to <address>', 'unix:PATH or a URL')
    .option('--token-file <file>', 'a file with the token')
    .option('--json', 'print JSON')
    .action(async (name: string, { to, tokenFile, json }: ConnectionFlags & { readonly to: string }) => {
      const { addContext } = await import('../admin/contexts.ts')
      await print(addContext(terminal.env, name, { to, tokenFile }), [`using ${name}: ${to}`], json)
    })
  context
    .command('use')
    .description('use another context')
    .argument('<name>', 'its name')
    .option('--json', 'print JSON')
    .action(async (name: string, { json }: { readonly json?: boolean }) => {
      const { useContext } = await import('../admin/contexts.ts')
      await print(useContext(terminal.env, name), [`using ${name}`], json)
    })
  context
    .command('ls')
    .description('list the contexts')
    .option('--json', 'print JSON')
    .action(async ({ json }: { readonly json?: boolean }) => {
      const { readContexts } = await import('../admin/contexts.ts')
      const all = readContexts(terminal.env)
      const rows = Object.entries(all.contexts).map(([name, { to }]) => [
        name === all.current ? '*' : '',
        name,
        to,
      ])
      await print(all, formatTable(['', 'name', 'address'], rows), json)
    })
}

function parseCount(text: string): number {
  const count = Number(text)
  if (Number.isSafeInteger(count) && count >= 1 && count <= 1_000) return count
  throw new InvalidArgumentError('Write a whole number from 1 to 1,000.')
}
