import { Command, CommanderError, type OutputConfiguration } from 'commander'
import { readVersion } from '../core/package-files.ts'
import { addAdminCommands } from './commands/commands-admin.ts'
import { addBrokerCommands } from './commands/commands-broker.ts'
import { addGatewayCommand } from './commands/commands-gateway.ts'
import { addPasswordCommand } from './commands/commands-passwd.ts'
import { addPolicyCommands } from './commands/commands-policy.ts'
import { addRolloutCommands } from './commands/commands-rollout.ts'
import { addSetupCommands } from './commands/commands-setup.ts'
import { addTokenCommands } from './commands/commands-token.ts'
import { EXIT, errorToJson, explainError } from './terminal/command-error.ts'
import { type Terminal, write } from './terminal/terminal.ts'

/** Commands whose `--json` prints a line for each message, second or event, and no document. */
const PRINTS_LINES: ReadonlySet<string | undefined> = new Set(['replay', 'demo', 'broker', 'gateway'])

/** Runs one command and reports all errors. Never rejects; resolves with the exit code. */
export async function run(args: readonly string[], terminal: Terminal): Promise<number> {
  let exitCode: number = EXIT.fine
  const program = createProgram(terminal, code => {
    exitCode = code
  })
  const printJson = async (error: unknown, code: number): Promise<void> => {
    if (args.includes('--json')) await write(terminal.stdout, `${JSON.stringify(errorToJson(error, code))}\n`)
  }
  try {
    await program.parseAsync(args, { from: 'user' })
    return exitCode
  } catch (error) {
    // Commander has printed the error; requested help and version are a success.
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return EXIT.fine
      await printJson(error, EXIT.usage)
      return EXIT.usage
    }
    const failure = explainError(error, Boolean(terminal.env.DEBUG))
    await write(terminal.stderr, failure.lines.map(line => `${line}\n`).join(''))
    // Lines may have been printed before.
    if (!PRINTS_LINES.has(args[0])) await printJson(error, failure.exitCode)
    return failure.exitCode
  }
}

/** Creates all commands, which use the terminal and pass their exit code to `done`. */
export function createProgram(terminal: Terminal, done: (exitCode: number) => void): Command {
  const output: OutputConfiguration = {
    writeOut: text => void terminal.stdout.write(text),
    writeErr: text => void terminal.stderr.write(text),
    getOutHelpWidth: () => terminal.stdout.columns ?? 100,
    getErrHelpWidth: () => terminal.stderr.columns ?? 100,
  }
  const program = new Command('topicgate')
    .description('Rate limiting for MQTT and NATS.')
    .version(readVersion(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help, of a command or of all')
    .configureOutput(output)
    .exitOverride()
    .showHelpAfterError('(topicgate --help lists the commands)')
    .showSuggestionAfterError()
  addPolicyCommands(program, terminal, done)
  addRolloutCommands(program, terminal, done)
  addBrokerCommands(program, terminal, done)
  addGatewayCommand(program, terminal, done)
  addAdminCommands(program, terminal, done)
  addTokenCommands(program, terminal, done)
  addPasswordCommand(program, terminal, done)
  addSetupCommands(program, terminal, done)
  program.addHelpText(
    'after',
    '\nExit codes: 0 success, 1 failed check, 2 wrong usage, 69 a service is not available, 77 not allowed.',
  )
  return program
}
