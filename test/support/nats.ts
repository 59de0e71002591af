import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { startServer, type TestServer } from './server.ts'

export interface NatsServer extends TestServer {
  /** `nats://127.0.0.1:port`. */
  readonly url: string
}

/**
 * Starts a NATS server. `jetstream` enables JetStream, `args` adds arguments of nats-server, `config` is the text of its
 * configuration file. If the environment variable TOPICGATE_NATS_GATEWAY is set, clients reach the server through a
 * gateway. Its value is the path of a file, to which the gateway appends its number of connections.
 */
export async function startNats(
  options: { jetstream?: boolean; args?: readonly string[]; config?: string; port?: number } = {},
): Promise<NatsServer> {
  const file = process.env.TOPICGATE_NATS_GATEWAY
  const server = await startServer({
    program: 'nats-server',
    variable: 'TOPICGATE_NATS_SERVER',
    args: (port, folder) => [
      ...['--addr', '127.0.0.1', '--port', String(port)],
      ...(options.jetstream ? ['--jetstream', '--store_dir', folder] : []),
      ...(options.config === undefined ? [] : ['--config', writeConfig(folder, options.config)]),
      ...(options.args ?? []),
    ],
    ...(options.port === undefined || file !== undefined ? {} : { port: options.port }),
  })
  const nats = { ...server, url: `nats://127.0.0.1:${server.port}` }
  if (file === undefined) return nats
  const { putBehindGateway } = await import('./nats-behind-gateway.ts')
  return putBehindGateway(nats, options.port ?? 0, file)
}

function writeConfig(folder: string, text: string): string {
  const path = join(folder, 'server.conf')
  writeFileSync(path, text)
  return path
}
