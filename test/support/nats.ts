import { startServer, type TestServer } from './server.ts'

export interface NatsServer extends TestServer {
  /** `nats://127.0.0.1:port`. */
  readonly url: string
}

/** Starts a NATS server, with JetStream if asked for. `args` are further ones of nats-server. */
export async function startNats(
  options: { jetstream?: boolean; args?: readonly string[]; port?: number } = {},
): Promise<NatsServer> {
  const server = await startServer({
    program: 'nats-server',
    variable: 'TOPICGATE_NATS_SERVER',
    args: (port, folder) => [
      ...['--addr', '127.0.0.1', '--port', String(port)],
      ...(options.jetstream ? ['--jetstream', '--store_dir', folder] : []),
      ...(options.args ?? []),
    ],
    ...(options.port === undefined ? {} : { port: options.port }),
  })
  return { ...server, url: `nats://127.0.0.1:${server.port}` }
}
