import type { Command } from 'commander'
import { DEFAULT_ITERATIONS } from '../../mqtt-auth/password-hash.ts'
import { parseIterations } from '../arguments/parse-argument-values.ts'
import type { Terminal } from '../terminal/terminal.ts'

interface PasswdFlags {
  readonly delete?: boolean
  readonly iterations: number
}

/** Adds the command that manages a password file: passwd. */
export function addPasswordCommand(
  program: Command,
  terminal: Terminal,
  done: (exitCode: number) => void,
): void {
  program
    .command('passwd')
    .description('set the password of an MQTT user in a password file; it is read from stdin')
    .argument('<file>', 'the password file, created if there is none')
    .argument('<user>', 'the user name')
    .option('--delete', 'remove the user')
    .option('--iterations <count>', 'rounds of PBKDF2', parseIterations, DEFAULT_ITERATIONS)
    .action(async (file: string, user: string, flags: PasswdFlags) => {
      const { setPasswordCommand, removePasswordCommand } = await import('../access/passwd.ts')
      const { iterations } = flags
      done(
        flags.delete
          ? await removePasswordCommand({ file, user }, terminal)
          : await setPasswordCommand({ file, user, iterations }, terminal),
      )
    })
}
