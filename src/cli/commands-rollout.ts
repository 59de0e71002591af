import type { Command } from 'commander'
import type { Terminal } from './terminal.ts'

interface TestFlags {
  readonly coverage?: boolean
  readonly junit?: string
  readonly json?: boolean
  readonly watch?: boolean
}

/** Adds the commands that check a change of a policy before it is in force: test. */
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
}
