import { type Command, Option } from 'commander'
import type { Dialect } from '../../core/message.ts'
import {
  parseDurationArgument,
  parseLoadArgument,
  parseQuantile,
  parseSeed,
} from '../arguments/parse-argument-values.ts'
import { type PlotFlags, plotOption, plotSenderOption, readPlotFlags } from '../plot/plot-flags.ts'
import { appendFailCondition, type FailCondition } from '../policy-diff/fail-condition.ts'
import { READY_FLEETS } from '../simulation/ready-fleets.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { outOfOrderOption, policyOption } from './commands-policy.ts'

interface TestFlags {
  readonly coverage?: boolean
  readonly junit?: string
  readonly json?: boolean
  readonly watch?: boolean
  readonly schema?: boolean
}

interface DiffFlags {
  readonly capture?: string
  readonly failOn?: readonly FailCondition[]
  readonly load?: number
  readonly allowOutOfOrder?: boolean
  readonly json?: boolean
}

interface SimulateFlags extends PlotFlags {
  readonly policy?: readonly string[]
  readonly broker?: string
  readonly capture?: string
  readonly seed?: number
  readonly for?: number
  readonly print?: boolean
  readonly json?: boolean
}

interface SuggestFlags {
  readonly topic?: string
  readonly per?: string
  readonly quantile: number
  readonly dialect?: Dialect
  readonly source?: string
  readonly write?: string
  readonly plot?: string
  readonly allowOutOfOrder?: boolean
  readonly json?: boolean
}

/** Adds the commands that check a change of a policy before it is in force: suggest, simulate, test and diff. */
export function addRolloutCommands(
  program: Command,
  terminal: Terminal,
  done: (exitCode: number) => void,
): void {
  program
    .command('suggest')
    .description('suggest the limits of a policy from recorded traffic, and verify them')
    .argument('<capture>', 'a capture: JSON lines; - for the standard input')
    .option('--topic <pattern>', 'suggest one rule, for this pattern; default: rules for all topics')
    .option('--per <scope>', 'what rules count by, as client or a capture; default: what all senders have')
    .addOption(
      new Option('--quantile <percent>', 'share of ordinary senders that a limit covers')
        .argParser(parseQuantile)
        .default(0.999, '99.9'),
    )
    .addOption(
      new Option('--dialect <dialect>', 'default: that of the topics').choices([
        'mqtt',
        'nats',
      ] satisfies Dialect[]),
    )
    .option('--source <name>', 'what the standard input is called in the policy')
    .option('--write <file>', 'write the policy to a file; default: print it')
    .option('--plot <file>', 'write a plot of the bursts that senders need, as SVG')
    .addOption(outOfOrderOption())
    .option('--json', 'print JSON')
    .action(async (capture: string, flags: SuggestFlags) => {
      const { suggest } = await import('../suggestion/suggest.ts')
      const { json = false, allowOutOfOrder: allowsOutOfOrder, ...rest } = flags
      done(await suggest({ ...rest, capture, json, allowsOutOfOrder }, terminal))
    })

  program
    .command('simulate')
    .description('run a fleet of devices: write a capture, see what a policy decides, or load a broker')
    .argument('<fleet>', `a fleet file, or a ready fleet: ${READY_FLEETS.join(', ')}`)
    .addOption(policyOption())
    .option('--broker <url>', 'connect the devices to mqtt://…, mqtts://… or nats://…, in real time')
    .option(
      '--capture <file>',
      'write the messages as a capture; .gz compresses it; - for the standard output',
    )
    .option('--for <duration>', 'how long; default: as in the fleet', parseDurationArgument)
    .option('--seed <number>', 'seed of all randomness; default: as in the fleet', parseSeed)
    .addOption(plotOption())
    .addOption(plotSenderOption())
    .option('--print', 'print the fleet file, to start from it')
    .option('--json', 'print JSON')
    .action(async (fleet: string, flags: SimulateFlags) => {
      const { simulate } = await import('../simulation/simulate.ts')
      const { policy = [], broker, capture, seed, for: forMs, print = false, json = false } = flags
      const plot = readPlotFlags(flags)
      done(await simulate({ fleet, policy, broker, capture, seed, forMs, plot, print, json }, terminal))
    })

  program
    .command('test')
    .description('run tests of policies on a virtual clock')
    .argument('[files...]', 'files of tests, in YAML or JSON, or folders with *.test.yaml')
    .option('--coverage', 'list rules and exemptions that no test decided by')
    .option('--junit <file>', 'also write the results as JUnit XML')
    .option('--schema', 'print the JSON Schema of a file of tests')
    .option('--watch', 'run again after each change of the tests, their policies and captures')
    .option('--json', 'print JSON')
    .action(async (files: readonly string[], flags: TestFlags) => {
      const { testPolicies } = await import('../policy-tests/test-policies.ts')
      const { coverage = false, junit, json = false, watch = false, schema = false } = flags
      done(await testPolicies({ files, coverage, junit, json, watch, schema }, terminal))
    })

  program
    .command('diff')
    .description('show what differs between two policies, and how they decide a capture')
    .argument(
      '<old>',
      'the policy in force; files of overlays with commas: base.yaml,prod.yaml; - for the standard input',
    )
    .argument('<new>', 'the policy that is to replace it, in the same way')
    .option('--capture <file>', 'a capture that both decide: JSON lines; - for the standard input')
    .addOption(
      new Option(
        '--fail-on <condition>',
        'exit with 1 if it holds, as "newly-refused > 0.1%"; may be given several times',
      ).argParser(appendFailCondition),
    )
    .option(
      '--load <share>',
      'load for adaptive limits, such as 80%; default: limits as written',
      parseLoadArgument,
    )
    .addOption(outOfOrderOption())
    .option('--json', 'print JSON')
    .action(async (old: string, now: string, flags: DiffFlags) => {
      const { capture, failOn = [], load, json = false, allowOutOfOrder: allowsOutOfOrder } = flags
      if (failOn.length > 0 && capture === undefined)
        throw new CommandError('--fail-on needs decisions: add --capture capture.jsonl', EXIT.usage)
      const { diffPolicies } = await import('../policy-diff/diff-policies.ts')
      const options = { old, new: now, capture, failOn, load, json, allowsOutOfOrder }
      done(await diffPolicies(options, terminal))
    })
}
