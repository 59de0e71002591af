import { startServer, type TestServer } from './server.ts'

export interface RedisServer extends TestServer {
  /** `redis://127.0.0.1:port`. */
  readonly url: string
}

/** Starts a Redis without persistence. `args` adds arguments of redis-server, such as `['--maxmemory', '1mb']`. */
export async function startRedis(
  options: { args?: readonly string[]; port?: number } = {},
): Promise<RedisServer> {
  const server = await startServer({
    program: 'redis-server',
    variable: 'TOPICGATE_REDIS_SERVER',
    args: (port, folder) => [
      ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder],
      ...['--save', '', '--appendonly', 'no', '--daemonize', 'no'],
      ...(options.args ?? []),
    ],
    ...(options.port === undefined ? {} : { port: options.port }),
  })
  return { ...server, url: `redis://127.0.0.1:${server.port}` }
}
