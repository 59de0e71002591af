import { type BrokerAccessOptions, openBrokerAccess, reloadableFilesOf } from '../access/access-files.ts'
import type { DurablePersistence } from '../persistence/aedes-persistence.ts'
import type { PersistenceLimitOptions } from '../persistence/limit-options.ts'
import type { openRedisPersistence } from '../persistence/redis-persistence.ts'
import type { ServerOptions } from '../server/server-types.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { runServer } from '../workers/run-server.ts'
import { startMqttServer } from './mqtt-server.ts'

export interface BrokerCommandOptions extends ServerOptions, BrokerAccessOptions {
  /** Default: no notices. */
  readonly notices: string | undefined
  /** URL of the Redis that keeps sessions and retained messages. Default: memory. */
  readonly persistence: string | undefined
  readonly storageLimits: PersistenceLimitOptions
}

/** The code of persistence is loaded on use. */
async function openPersistence(
  ...args: Parameters<typeof openRedisPersistence>
): Promise<DurablePersistence> {
  const { openRedisPersistence: open } = await import('../persistence/redis-persistence.ts')
  return open(...args)
}

/** Runs a limited MQTT broker until SIGINT or SIGTERM. Returns the exit code. */
export function runBroker(options: BrokerCommandOptions, terminal: Terminal): Promise<number> {
  return runServer(options, terminal, async logger => {
    const access = await openBrokerAccess(options, logger)
    return {
      files: reloadableFilesOf(access),
      start: async gate => {
        const { persistence, storageLimits } = options
        const durable =
          persistence === undefined
            ? undefined
            : await openPersistence(persistence, storageLimits.maxQueuedMessages, logger)
        try {
          const server = await startMqttServer({ ...options, ...access, durable, gate, logger })
          return {
            ...server,
            isServing: () => true,
            close: async drainMs => {
              await server.close(drainMs)
              await durable?.close()
            },
          }
        } catch (error) {
          await durable?.close()
          throw error
        }
      },
    }
  })
}
