import { type Command, Option } from 'commander'
import { CommandError, EXIT } from './command-error.ts'
import { appendOptionValue, parseWindow } from './parse-argument-values.ts'
import { requirePackages } from './required-packages.ts'
import { addServerOptions, parseServerFlags, type ServerFlags } from './server-flags.ts'
import type { Terminal } from './terminal.ts'
import { parseUpstream } from './upstreams/upstream.ts'

interface GatewayFlags extends ServerFlags {
  readonly upstream?: readonly string[]
  readonly upstreamCa?: string
  readonly upstreamCert?: string
  readonly upstreamKey?: string
  readonly sendProxy?: 'v2'
  readonly window?: number
  readonly wills?: 'check' | 'strip' | 'pass'
  readonly advertise?: boolean
}

/** Adds the command that runs a gateway. */
export function addGatewayCommand(
  program: Command,
  terminal: Terminal,
  done: (exitCode: number) => void,
): void {
  const gateway = program
    .command('gateway')
    .description('limit the clients of any MQTT broker; SIGHUP and changed files reload the policy')
    .argument('[files...]', 'policy files')
    .option(
      '--upstream <url>',
      'the broker, as mqtt://host:1883 or mqtts://host:8883; may be given several times',
      appendOptionValue,
    )
    .option('--upstream-ca <file>', 'authorities of the certificates of mqtts:// brokers, in PEM')
    .option('--upstream-cert <file>', 'certificate to show to mqtts:// brokers, in PEM')
    .option('--upstream-key <file>', 'private key of --upstream-cert, in PEM')
    .addOption(
      new Option('--send-proxy <version>', 'tell brokers the addresses of clients by PROXY protocol').choices(
        ['v2'],
      ),
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
      const server = parseServerFlags(files, flags, terminal.env, 'gateway --policy policy.yaml')
      const upstreams = (flags.upstream ?? []).map(parseUpstream)
      if (upstreams.length === 0)
        throw new CommandError('no broker is given (add --upstream mqtt://host:1883)', EXIT.usage)
      const { upstreamCa: caFile, upstreamCert: certFile, upstreamKey: keyFile } = flags
      if ((certFile === undefined) !== (keyFile === undefined)) {
        const remedy = 'give both, or neither'
        throw new CommandError(`--upstream-cert and --upstream-key belong together (${remedy})`, EXIT.usage)
      }
      requirePackages('gateway')
      const { runGateway } = await import('./gateway.ts')
      const options = {
        ...server,
        upstreams,
        upstreamTls: { caFile, certFile, keyFile },
        sendsProxyHeader: flags.sendProxy !== undefined,
        window: flags.window,
        wills: flags.wills,
        advertise: flags.advertise ?? false,
        usernameFrom: flags.usernameFrom,
      }
      done(await runGateway(options, terminal))
    })
}
