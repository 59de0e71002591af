import { type Command, Option } from 'commander'
import type { Operation } from '../../core/message.ts'
import {
  appendOptionValue,
  parseBytesArgument,
  parseDurationArgument,
  parseHeaderArgument,
  parseIpArgument,
  parseLoadArgument,
  parsePayloadArgument,
  parseQosArgument,
  parseSenderCount,
  parseTime,
} from '../arguments/parse-argument-values.ts'
import { type PlotFlags, plotOption, plotSenderOption, readPlotFlags } from '../plot/plot-flags.ts'
import { requirePolicyFiles } from '../policy/resolve-policy-files.ts'
import type { PolicyTarget } from '../policy/validate.ts'
import type { Terminal } from '../terminal/terminal.ts'

interface ExplainFlags {
  readonly policy?: readonly string[]
  readonly json?: boolean
  readonly topic: string
  readonly on: Operation
  readonly client?: string
  readonly user?: string
  readonly device?: string
  readonly apiKey?: string
  readonly ip?: string
  readonly role?: readonly string[]
  readonly tier?: string
  readonly header?: Readonly<Record<string, readonly string[]>>
  readonly payload?: string
  readonly size?: number
  readonly qos: 0 | 1 | 2
  readonly retain?: boolean
  readonly will?: boolean
  readonly at?: number
  readonly after?: string
  readonly load?: number
  readonly allowOutOfOrder?: boolean
}

interface PolicyFlags {
  readonly policy?: readonly string[]
  readonly json?: boolean
}

interface ReplayFlags extends PolicyFlags, PlotFlags {
  readonly load?: number
  readonly allowOutOfOrder?: boolean
}

interface ValidateFlags extends PolicyFlags {
  readonly schema?: boolean
  readonly print?: boolean
  readonly strict?: boolean
  readonly each?: boolean
  readonly for?: PolicyTarget
}

interface BenchFlags extends PolicyFlags {
  readonly senders: number
  readonly for: number
}

/** Returns the policy option shared by all commands; several files are overlays. */
export function policyOption(): Option {
  const meaning = 'a policy file; given several times, the later win by name'
  return new Option('-p, --policy <file>', meaning).argParser(appendOptionValue)
}

/** Returns the option shared by all commands that read a capture. */
export function outOfOrderOption(): Option {
  return new Option(
    '--allow-out-of-order',
    'use lines of the capture that are earlier than one before them at the latest time so far',
  )
}

/** Adds the commands that use a policy without running a broker: validate, explain, replay, bench. */
export function addPolicyCommands(
  program: Command,
  terminal: Terminal,
  done: (exitCode: number) => void,
): void {
  program
    .command('validate')
    .description('check a policy; several files are overlays, of which the later win')
    .argument('[files...]', 'policy files; - for the standard input')
    .addOption(policyOption())
    .option('--strict', 'exit with 1 for warnings, too')
    .option('--each', 'check each file as a policy of its own')
    .addOption(
      new Option('--for <target>', 'warn about outcomes it cannot enact').choices([
        'aedes',
        'mqtt',
        'nats',
      ] satisfies PolicyTarget[]),
    )
    .option('--schema', 'print the JSON Schema of the policy file')
    .option('--print', 'print the merged policy, without its secrets')
    .option('--json', 'print JSON')
    .action(async (files: readonly string[], flags: ValidateFlags) => {
      const { validate } = await import('../policy/validate.ts')
      const { schema = false, print = false, json = false, strict = false, each = false } = flags
      const policy = [...files, ...(flags.policy ?? [])]
      done(await validate({ policy, schema, print, json, strict, each, target: flags.for }, terminal))
    })

  program
    .command('explain')
    .description('explain every step for one message: route, exemptions, limits, outcome')
    .argument('[files...]', 'policy files')
    .addOption(policyOption())
    .requiredOption('--topic <topic>', 'the topic of the message')
    .addOption(
      new Option('--on <action>', 'what is done with the topic')
        .choices(['publish', 'subscribe', 'connect', 'deliver', 'accept'])
        .default('publish'),
    )
    .option('--client <id>', 'the client id of the sender')
    .option('--user <name>', 'its user')
    .option('--device <name>', 'its device')
    .option('--api-key <key>', 'its api key')
    .option('--ip <address>', 'its address', parseIpArgument)
    .option('--role <role>', 'a role; may be given several times', appendOptionValue)
    .option('--tier <tier>', 'its tier')
    .option('--header <name=value>', 'a header; may be given several times', parseHeaderArgument)
    .option('--payload <text>', 'the payload: JSON or plain text', parsePayloadArgument)
    .option('--size <bytes>', 'payload bytes; default: those of the payload', parseBytesArgument)
    .option('--qos <qos>', 'quality of service', parseQosArgument, 0)
    .option('--retain', 'a retained message')
    .option('--will', 'the will of a client that is gone')
    .option('--at <moment>', 'when it is decided, as 2026-01-31T12:00:00Z; default: now', parseTime)
    .option('--after <capture>', 'a capture to decide first, up to that moment; - for the standard input')
    .option(
      '--load <share>',
      'load for adaptive limits, such as 80%; default: limits as written',
      parseLoadArgument,
    )
    .addOption(outOfOrderOption())
    .option('--json', 'print JSON')
    .action(async (files: readonly string[], flags: ExplainFlags) => {
      const { explain } = await import('../replay/explain.ts')
      const { topic, on, payload, size, qos, header, role } = flags
      const { client, user, device, apiKey, ip, tier } = flags
      const known = Object.entries({ client, user, device, apiKey, ip, roles: role, tier })
      const options = {
        policy: requirePolicyFiles(
          [...files, ...(flags.policy ?? [])],
          terminal.env,
          'explain policy.yaml --topic a/b',
        ),
        json: flags.json ?? false,
        topic,
        on,
        payload,
        size,
        qos,
        headers: header,
        sender: Object.fromEntries(known.filter(([, value]) => value !== undefined)),
        retain: flags.retain ?? false,
        will: flags.will ?? false,
        atMs: flags.at,
        after: flags.after,
        load: flags.load,
        allowsOutOfOrder: flags.allowOutOfOrder,
      }
      done(await explain(options, terminal))
    })

  program
    .command('replay')
    .description('decide a recorded capture on a virtual clock, each line at its own moment')
    .argument('<files...>', 'policy files, then the capture: JSON lines; - for the standard input')
    .addOption(policyOption())
    .option(
      '--load <share>',
      'load for adaptive limits, such as 80%; default: limits as written',
      parseLoadArgument,
    )
    .addOption(outOfOrderOption())
    .addOption(plotOption())
    .addOption(plotSenderOption())
    .option('--json', 'print a decision for each line, as JSON; default: a table of totals')
    .action(async (files: readonly string[], flags: ReplayFlags) => {
      const { replay } = await import('../replay/replay.ts')
      const policy = [...files.slice(0, -1), ...(flags.policy ?? [])]
      const options = {
        policy: requirePolicyFiles(policy, terminal.env, 'replay policy.yaml capture.jsonl'),
        capture: files.at(-1) ?? '-',
        json: flags.json ?? false,
        load: flags.load,
        allowsOutOfOrder: flags.allowOutOfOrder,
        plot: readPlotFlags(flags),
      }
      done(await replay(options, terminal))
    })

  program
    .command('bench')
    .description('measure decisions and memory of a policy on this machine')
    .argument('[files...]', 'policy files')
    .addOption(policyOption())
    .option('--senders <count>', 'senders, each on a topic of its own', parseSenderCount, 10_000)
    .addOption(
      new Option('--for <duration>', 'how long it may take, about')
        .argParser(parseDurationArgument)
        .default(5_000, '5s'),
    )
    .option('--json', 'print JSON')
    .action(async (files: readonly string[], flags: BenchFlags) => {
      const { bench } = await import('../bench/bench.ts')
      const policy = requirePolicyFiles(
        [...files, ...(flags.policy ?? [])],
        terminal.env,
        'bench policy.yaml',
      )
      const { senders, for: forMs, json = false } = flags
      done(await bench({ policy, senders, forMs, json }, terminal))
    })
}
