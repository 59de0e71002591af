import { execFile } from 'node:child_process'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { freePort } from './ports.ts'
import { startServer, type TestServer } from './server.ts'

const run = promisify(execFile)

/** A RabbitMQ that serves MQTT. */
export interface RabbitmqServer extends TestServer {
  /** `mqtt://127.0.0.1:port`. */
  readonly url: string
}

/** Starts a RabbitMQ with MQTT only, without authentication. It expects PROXY headers. Takes about ten seconds. */
export async function startRabbitmq(): Promise<RabbitmqServer> {
  const [epmdPort, distributionPort] = [await freePort(), await freePort()]
  const server = await startServer({
    program: 'rabbitmq-server',
    variable: 'TOPICGATE_RABBITMQ',
    // The script in /usr/sbin switches to the user `rabbitmq`, who cannot read the folder of the server.
    folders: ['/usr/lib/rabbitmq/bin'],
    startingMs: 120_000,
    env: (_port, folder) => ({
      HOME: folder,
      RABBITMQ_NODENAME: `topicgate-${distributionPort}@localhost`,
      RABBITMQ_MNESIA_BASE: join(folder, 'mnesia'),
      RABBITMQ_LOG_BASE: folder,
      RABBITMQ_ENABLED_PLUGINS_FILE: join(folder, 'enabled_plugins'),
      RABBITMQ_CONFIG_FILE: join(folder, 'rabbitmq.conf'),
      RABBITMQ_CONF_ENV_FILE: '/dev/null',
      RABBITMQ_DIST_PORT: String(distributionPort),
      ERL_EPMD_PORT: String(epmdPort),
      // With this variable the script replaces itself with the server (`exec`), so that signals reach the server.
      RUNNING_UNDER_SYSTEMD: 'true',
    }),
    args: async (port, folder) => {
      const lines = [
        'listeners.tcp = none',
        `mqtt.listeners.tcp.1 = 127.0.0.1:${port}`,
        'mqtt.proxy_protocol = true',
        'mqtt.allow_anonymous = true',
        'log.console = true',
      ]
      await writeFile(join(folder, 'rabbitmq.conf'), `${lines.join('\n')}\n`)
      await writeFile(join(folder, 'enabled_plugins'), '[rabbitmq_mqtt].\n')
      return []
    },
  })
  const stop = async (signal?: NodeJS.Signals): Promise<void> => {
    await server.stop(signal)
    // Stops the port mapper of Erlang, which was started for this server only and would keep running.
    await run('epmd', ['-kill'], { env: { ...process.env, ERL_EPMD_PORT: String(epmdPort) } }).catch(() => {})
  }
  return {
    ...server,
    url: `mqtt://127.0.0.1:${server.port}`,
    stop,
    [Symbol.asyncDispose]: () => stop('SIGKILL'),
  }
}
