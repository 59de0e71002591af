import { type Command, Option } from 'commander'
import {
  aclFileFromEnv,
  DEFAULT_NOTICES_TOPIC,
  noticesTopicFromEnv,
  passwordFileFromEnv,
  persistenceFromEnv,
} from '../arguments/environment-variables.ts'
import { parseBytesArgument, parseCount, parseDurationArgument } from '../arguments/parse-argument-values.ts'
import type { BrokerCommandOptions } from '../broker/broker.ts'
import { DEFAULT_PERSISTENCE_LIMITS } from '../persistence/limit-options.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import { requirePackages } from '../terminal/required-packages.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { parseUpstream } from '../upstreams/upstream.ts'
import { policyOption } from './commands-policy.ts'
import { addServerOptions, parseServerFlags, type ServerFlags } from './server-flags.ts'

interface BrokerFlags extends ServerFlags {
  readonly notices?: string | true
  readonly passwordFile?: string
  readonly allowAnonymous?: boolean
  readonly aclFile?: string
  readonly persistence?: string
  readonly maxRetained: number
  readonly maxRetainedBytes: number
  readonly maxSessions: number
  readonly maxQueuedMessages: number
  readonly maxQueuedBytes: number
}

interface DemoFlags {
  readonly policy?: readonly string[]
  readonly for?: number
  readonly outcome?: 'drop' | 'throttle'
  readonly attack?: boolean
  readonly upstream?: string
  readonly ui?: boolean
  readonly json?: boolean
}

/** Adds the commands that run a broker: broker, demo. */
export function addBrokerCommands(
  program: Command,
  terminal: Terminal,
  done: (exitCode: number) => void,
): void {
  const broker = program
    .command('broker')
    .description('run a limited MQTT broker; SIGHUP and changed files reload its policy')
    .argument('[files...]', 'policy files')
  addServerOptions(broker)
    .option(
      '--notices [topic]',
      `send refused clients the reason, on a topic of their own; default: ${DEFAULT_NOTICES_TOPIC}`,
    )
    .option(
      '--password-file <file>',
      'users and hashed passwords, as topicgate passwd or mosquitto_passwd writes',
    )
    .option('--allow-anonymous', 'with --password-file, let clients without a user name connect too')
    .option('--acl-file <file>', 'topics that each user may publish and read, in the format of mosquitto')
    .option(
      '--persistence <url>',
      'keep sessions and retained messages in a Redis, as redis://host/1; default: memory',
    )
    .option('--max-retained <count>', 'retained messages', parseCount, DEFAULT_PERSISTENCE_LIMITS.maxRetained)
    .option(
      '--max-retained-bytes <bytes>',
      'bytes of retained messages and their topics',
      parseBytesArgument,
      DEFAULT_PERSISTENCE_LIMITS.maxRetainedBytes,
    )
    .option(
      '--max-sessions <count>',
      'persistent sessions',
      parseCount,
      DEFAULT_PERSISTENCE_LIMITS.maxSessions,
    )
    .option(
      '--max-queued-messages <count>',
      'messages queued for one session',
      parseCount,
      DEFAULT_PERSISTENCE_LIMITS.maxQueuedMessages,
    )
    .option(
      '--max-queued-bytes <bytes>',
      'bytes queued for all sessions together',
      parseBytesArgument,
      DEFAULT_PERSISTENCE_LIMITS.maxQueuedBytes,
    )
    .action(async (files: readonly string[], flags: BrokerFlags) => {
      const { env } = terminal
      const server = parseServerFlags(files, flags, env, { usage: 'broker --policy policy.yaml' })
      const { maxRetained, maxRetainedBytes, maxSessions, maxQueuedMessages, maxQueuedBytes } = flags
      const options = {
        ...server,
        notices: flags.notices === true ? DEFAULT_NOTICES_TOPIC : (flags.notices ?? noticesTopicFromEnv(env)),
        authentication: parseAuthenticationFlags(flags, env),
        aclFile: flags.aclFile ?? aclFileFromEnv(env),
        persistence: parsePersistence(flags.persistence ?? persistenceFromEnv(env)),
        storageLimits: { maxRetained, maxRetainedBytes, maxSessions, maxQueuedMessages, maxQueuedBytes },
      }
      if (options.workers !== undefined) {
        const remedy = 'run several brokers behind topicgate gateway --workers'
        throw new CommandError(
          `--workers: sessions and subscriptions of a broker are in one process (${remedy})`,
          EXIT.usage,
        )
      }
      requirePackages('broker')
      const { runBroker } = await import('../broker/broker.ts')
      done(await runBroker(options, terminal))
    })

  program
    .command('demo')
    .description('watch a limited broker at work: a small fleet with one device that floods')
    .addOption(policyOption())
    .option('--for <duration>', 'end after this time, such as 10s; default: at Ctrl-C', parseDurationArgument)
    .addOption(
      new Option('--outcome <outcome>', 'outcome of all rules; default: as in the policy').choices([
        'drop',
        'throttle',
      ]),
    )
    .option('--upstream <url>', 'a broker to run a gateway for; default: a broker of its own')
    .option('--ui', 'serve the dashboard, and print its address')
    .option('--attack', 'show what an attacker gets through the policy, and end')
    .option('--json', 'print a line of JSON a second; with --attack, one line')
    .action(async (flags: DemoFlags) => {
      if (flags.attack) {
        if (flags.for !== undefined || flags.outcome !== undefined || flags.ui || flags.upstream) {
          const remedy = 'leave out --for, --outcome, --ui and --upstream'
          throw new CommandError(`--attack runs by itself, with the policy as it is (${remedy})`, EXIT.usage)
        }
        const { runAttackDemo } = await import('../demo/attack-simulation.ts')
        done(await runAttackDemo({ policy: flags.policy ?? [], json: flags.json ?? false }, terminal))
        return
      }
      requirePackages('demo')
      const { demo } = await import('../demo/demo.ts')
      const options = {
        policy: flags.policy ?? [],
        forMs: flags.for,
        outcome: flags.outcome,
        ui: flags.ui ?? false,
        json: flags.json ?? false,
        upstream: flags.upstream === undefined ? undefined : parseUpstream(flags.upstream),
      }
      done(await demo(options, terminal))
    })
}

function parseAuthenticationFlags(
  flags: BrokerFlags,
  env: Terminal['env'],
): BrokerCommandOptions['authentication'] {
  const passwordFile = flags.passwordFile ?? passwordFileFromEnv(env)
  const allowAnonymous = flags.allowAnonymous ?? false
  const usernameFromCertificate = flags.usernameFrom === 'cn'
  if (passwordFile !== undefined || usernameFromCertificate)
    return { passwordFile, usernameFromCertificate, allowAnonymous }
  if (!allowAnonymous) return undefined
  const remedy = 'without one, every client may connect'
  throw new CommandError(`--allow-anonymous belongs to --password-file (${remedy})`, EXIT.usage)
}

/** Never print the URL: it may contain a password. */
function parsePersistence(url: string | undefined): string | undefined {
  if (url === undefined || url === 'memory') return undefined
  if (/^rediss?:$/.test(URL.canParse(url) ? new URL(url).protocol : '')) return url
  const remedy = 'write redis://host/1, or memory'
  throw new CommandError(`--persistence is not the URL of a Redis (${remedy})`, EXIT.usage)
}
