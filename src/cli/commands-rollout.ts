import { type Command, Option } from 'commander'
import { CommandError, EXIT } from './command-error.ts'
import { parseLoadArgument } from './parse-argument-values.ts'
import { appendFailCondition, type FailCondition } from './policy-diff/fail-condition.ts'
import type { Terminal } from './terminal.ts'

interface TestFlags {
  readonly coverage?: boolean
  readonly junit?: string
  readonly json?: boolean
  readonly watch?: boolean
}

interface DiffFlags {
  readonly capture?: string
  readonly failOn?: readonly FailCondition[]
  readonly load?: number
  readonly json?: boolean
}

/** Adds the commands that check a change of a policy before it is in force: test and diff. */
export function addRolloutCommands(
  program: Command,
  terminal: Terminal,
  done: (exitCode: number) => void,
): void {
  program
    .command('test')
    .description('run tests of policies on a virtual clock')
    .argument('<files...>', 'files of tests, in YAML or JSON')
    .option('--coverage', 'list rules and exemptions that no test decided by')
    .option('--junit <file>', 'also write the results as JUnit XML')
    .option('--watch', 'run again after each change of the tests, their policies and captures')
    .option('--json', 'print JSON')
    .action(async (files: readonly string[], flags: TestFlags) => {
      const { testPolicies } = await import('./policy-tests/test-policies.ts')
      const { coverage = false, junit, json = false, watch = false } = flags
      done(await testPolicies({ files, coverage, junit, json, watch }, terminal))
    })

  program
    .command('diff')
    .description('show what differs between two policies, and how they decide a capture')
    .argument('<old>', 'the policy in force')
    .argument('<new>', 'the policy that is to replace it')
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
    .option('--json', 'print JSON')
    .action(async (old: string, now: string, flags: DiffFlags) => {
      const { capture, failOn = [], load, json = false } = flags
      if (failOn.length > 0 && capture === undefined)
        throw new CommandError('--fail-on needs decisions: add --capture capture.jsonl', EXIT.usage)
      const { diffPolicies } = await import('./policy-diff/diff-policies.ts')
      done(await diffPolicies({ old, new: now, capture, failOn, load, json }, terminal))
    })
}
