import { Argument, type Command, Option } from 'commander'
import type { Dialect } from '../../core/message.ts'
import { EXIT } from '../terminal/command-error.ts'
import { type Terminal, write } from '../terminal/terminal.ts'
import { SHELLS, type ShellName } from './completion.ts'

interface InitFlags {
  readonly yes?: boolean
  readonly force?: boolean
  readonly dialect?: Dialect
  readonly topic?: string
  readonly limit?: string
}

/** Adds the setup commands: init, completion. */
export function addSetupCommands(
  program: Command,
  terminal: Terminal,
  done: (exitCode: number) => void,
): void {
  program
    .command('init')
    .description('write a first policy from three questions')
    .argument('[file]', 'the file to write', 'policy.yaml')
    .option('-y, --yes', 'ask nothing, take the defaults')
    .option('--force', 'replace a file that exists')
    .addOption(new Option('--dialect <dialect>', 'how topics are written').choices(['mqtt', 'nats']))
    .option('--topic <pattern>', 'topics of your devices, as devices/{device}/#')
    .option('--limit <rate>', 'how much one device may send, as "10/s burst 50"')
    .action(async (file: string, flags: InitFlags) => {
      const { init } = await import('../policy/init.ts')
      const { dialect, topic, limit, yes = false, force = false } = flags
      done(await init({ file, dialect, topic, limit, yes, force }, terminal))
    })

  program
    .command('completion')
    .description('print a completion script for a shell')
    .addArgument(new Argument('<shell>', 'the shell').choices(SHELLS))
    .action(async (shell: ShellName) => {
      const { completionScript } = await import('./completion.ts')
      await write(terminal.stdout, completionScript(program, shell))
      done(EXIT.fine)
    })
}
