import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { startServer, type TestServer } from './server.ts'

export interface MosquittoServer extends TestServer {
  /** `mqtt://127.0.0.1:port`. */
  readonly url: string
}

/** Starts a Mosquitto without authentication and persistence. `config` adds lines to its configuration file. */
export async function startMosquitto(
  options: { config?: readonly string[]; port?: number } = {},
): Promise<MosquittoServer> {
  const server = await startServer({
    program: 'mosquitto',
    variable: 'TOPICGATE_MOSQUITTO',
    args: async (port, folder) => {
      const file = join(folder, 'mosquitto.conf')
      const lines = [
        `listener ${port} 127.0.0.1`,
        'allow_anonymous true',
        'persistence false',
        'log_dest stdout',
        ...(options.config ?? []),
      ]
      await writeFile(file, `${lines.join('\n')}\n`)
      return ['-c', file]
    },
    ...(options.port === undefined ? {} : { port: options.port }),
  })
  return { ...server, url: `mqtt://127.0.0.1:${server.port}` }
}
