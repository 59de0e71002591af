import { readFileSync } from 'node:fs'
import { type Command, Option } from 'commander'
import { appendOptionValue, parseCount, parseWindow } from '../arguments/parse-argument-values.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import { requirePackages } from '../terminal/required-packages.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { parseUpstream, type UpstreamAddress } from '../upstreams/upstream.ts'
import { addServerOptions, parseServerFlags, type ServerFlags } from './server-flags.ts'

interface GatewayFlags extends ServerFlags {
  readonly upstream?: readonly string[]
  readonly upstreamCa?: string
  readonly upstreamCert?: string
  readonly upstreamKey?: string
  readonly upstreamTlsFirst?: boolean
  readonly proxyKey?: string
  readonly sendProxy?: 'v2'
  readonly maxPendingConnects?: number
  readonly window?: number
  readonly wills?: 'check' | 'strip' | 'pass'
  readonly advertise?: boolean
}

const DEFAULT_NATS_PORT = 4_222

/** Adds the command that runs a gateway. */
export function addGatewayCommand(
  program: Command,
  terminal: Terminal,
  done: (exitCode: number) => void,
): void {
  const gateway = program
    .command('gateway')
    .description(
      'limit the clients of any MQTT broker or NATS server; SIGHUP and changed files reload the policy',
    )
    .argument('[files...]', 'policy files')
    .option(
      '--upstream <url>',
      'the broker, as mqtt://host:1883, mqtts://host:8883, nats://host:4222 or tls://host:4222; may be given several times',
      appendOptionValue,
    )
    .option('--upstream-ca <file>', 'authorities of the certificates of brokers, in PEM')
    .option('--upstream-cert <file>', 'certificate to show to brokers over TLS, in PEM')
    .option('--upstream-key <file>', 'private key of --upstream-cert, in PEM')
    .option('--upstream-tls-first', 'NATS servers expect TLS before their INFO (handshake_first)')
    .option(
      '--proxy-key <file>',
      'seed of the nkey with which NATS servers know the gateway as a trusted proxy',
    )
    .addOption(
      new Option('--send-proxy <version>', 'tell brokers the addresses of clients by PROXY protocol').choices(
        ['v2'],
      ),
    )
    .option(
      '--max-pending-connects <count>',
      'connections to one broker that it has not answered yet; further clients wait; default: 64',
      parseCount,
    )
  addServerOptions(gateway)
    .option(
      '--window <count>',
      'messages of QoS 1 and 2 of a client before MQTT 5 that the broker may have unacknowledged; default: 20',
      parseWindow,
    )
    .addOption(
      new Option(
        '--wills <mode>',
        'decide wills when clients connect, remove or pass them; default: check',
      ).choices(['check', 'strip', 'pass']),
    )
    .option('--advertise', 'let clients see the Server Reference of a broker, which leads around the gateway')
    .action(async (files: readonly string[], flags: GatewayFlags) => {
      const upstreams = (flags.upstream ?? []).map(parseUpstream)
      const isNats = upstreams.some(({ protocol }) => protocol === 'nats')
      const server = parseServerFlags(files, flags, terminal.env, {
        usage: 'gateway --policy policy.yaml',
        defaultPort: isNats ? DEFAULT_NATS_PORT : undefined,
      })
      if (upstreams.length === 0)
        throw new CommandError('no broker is given (add --upstream mqtt://host:1883)', EXIT.usage)
      if (isNats) checkNatsFlags(upstreams, flags)
      const { upstreamCa: caFile, upstreamCert: certFile, upstreamKey: keyFile } = flags
      if ((certFile === undefined) !== (keyFile === undefined)) {
        const remedy = 'give both, or neither'
        throw new CommandError(`--upstream-cert and --upstream-key belong together (${remedy})`, EXIT.usage)
      }
      requirePackages('gateway')
      const { runGateway } = await import('../gateway/gateway.ts')
      const options = {
        ...server,
        upstreams,
        upstreamTls: { caFile, certFile, keyFile },
        isUpstreamTlsFirst: flags.upstreamTlsFirst ?? false,
        sendsProxyHeader: flags.sendProxy !== undefined,
        maxPendingConnects: flags.maxPendingConnects,
        window: flags.window,
        wills: flags.wills,
        advertise: flags.advertise ?? false,
        usernameFrom: flags.usernameFrom,
        proxySeed: flags.proxyKey === undefined ? undefined : readProxySeed(flags.proxyKey),
      }
      done(await runGateway(options, terminal))
    })
}

/** Reads the seed of an nkey, such as `SU…`. Throws CommandError, which never shows the contents of the file. */
function readProxySeed(file: string): string {
  try {
    return readFileSync(file, 'utf8').trim()
  } catch (cause) {
    const { code = 'unreadable' } = cause as NodeJS.ErrnoException
    const text = `the file of --proxy-key cannot be used: ${code} (name a file with the seed of an nkey)`
    throw new CommandError(text, EXIT.usage, { cause })
  }
}

/** Throws CommandError for brokers of two protocols, and for options that have no meaning for NATS. */
function checkNatsFlags(upstreams: readonly UpstreamAddress[], flags: GatewayFlags): void {
  if (upstreams.some(({ protocol }) => protocol !== 'nats'))
    throw new CommandError('a gateway serves one protocol (start another one for MQTT)', EXIT.usage)
  const { window, wills, advertise, usernameFrom } = flags
  for (const [name, value] of Object.entries({ window, wills, advertise, 'username-from': usernameFrom })) {
    if (value === undefined) continue
    throw new CommandError(`--${name} is for MQTT brokers (leave it out for NATS servers)`, EXIT.usage)
  }
}
