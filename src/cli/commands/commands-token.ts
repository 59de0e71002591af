import { type Command, Option } from 'commander'
import { ROLES, type Role } from '../../admin/access/roles.ts'
import { tokensFileFromEnv } from '../arguments/environment-variables.ts'
import { parseDurationArgument } from '../arguments/parse-argument-values.ts'
import type { Terminal } from '../terminal/terminal.ts'

interface TokenFlags {
  readonly tokens?: string
  readonly json?: boolean
}

interface CreateFlags extends TokenFlags {
  readonly role: Role
  readonly expires?: number
}

/** Adds the commands that manage the tokens of the admin API: token create, ls, rm. */
export function addTokenCommands(
  program: Command,
  terminal: Terminal,
  done: (exitCode: number) => void,
): void {
  const token = program.command('token').description('manage the tokens of the admin API')
  const fileOf = ({ tokens }: TokenFlags): string => tokens ?? tokensFileFromEnv(terminal.env)
  const command = (usage: string, description: string): Command =>
    token
      .command(usage)
      .description(description)
      .option('--tokens <file>', 'the token file; default: TOPICGATE_ADMIN_TOKENS, or topicgate.tokens')
      .option('--json', 'print JSON')

  command('create', 'create a token and print it: it cannot be printed again')
    .argument('<name>', 'its name in the audit log')
    .addOption(new Option('--role <role>', 'its rights').choices(ROLES).default('viewer'))
    .option('--expires <duration>', 'end after this time, as 90d; default: never', parseDurationArgument)
    .action(async (name: string, flags: CreateFlags) => {
      const { createTokenCommand } = await import('../access/token.ts')
      const { role, expires: forMs, json = false } = flags
      done(await createTokenCommand({ name, role, forMs, file: fileOf(flags), json }, terminal))
    })
  command('ls', 'list the tokens, without their secrets').action(async (flags: TokenFlags) => {
    const { listTokensCommand } = await import('../access/token.ts')
    done(await listTokensCommand({ file: fileOf(flags), json: flags.json ?? false }, terminal))
  })
  command('rm', 'remove a token; running servers refuse it within a second')
    .argument('<name>', 'its name')
    .action(async (name: string, flags: TokenFlags) => {
      const { removeTokenCommand } = await import('../access/token.ts')
      done(await removeTokenCommand({ name, file: fileOf(flags), json: flags.json ?? false }, terminal))
    })
}
