import type { Redis } from 'ioredis'
import { systemClock } from '../../core/clock.ts'
import { ThrottledLog } from '../../core/throttled-log.ts'
import type { Logger } from '../../index.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import { requirePackages } from '../terminal/required-packages.ts'
import type { AedesPersistence, DurablePersistence, StoredSession } from './aedes-persistence.ts'

/** Longest wait of a queued message for its session. */
const QUEUED_SECONDS = 7 * 86_400
const CONNECT_MS = 5_000
/** Sessions read by one round trip. */
const BATCH = 100
/** Time in which the connection of a broker that was killed disappears. */
const RELEASE_MS = 3_000
const RELEASE_CHECK_MS = 100

type PersistenceFactory = (options: {
  readonly conn: Redis
  readonly maxSessionDelivery: number
  readonly packetTTL: () => number
}) => AedesPersistence

/**
 * Opens aedes-persistence-redis, which keeps sessions, their queued messages and retained messages. Throws CommandError
 * if the Redis does not answer or another broker uses its database.
 */
export async function openRedisPersistence(
  url: string,
  maxQueuedMessages: number,
  logger: Logger,
): Promise<DurablePersistence> {
  requirePackages('broker --persistence')
  const { Redis } = await import('ioredis')
  const connection = new Redis(url, { lazyConnect: true, connectTimeout: CONNECT_MS })
  const errors = new ThrottledLog(systemClock, logger, 'error')
  const logError = (err: Error): void => errors.log({ err }, 'the Redis of --persistence reports an error')
  connection.on('error', logError)
  try {
    await connection.connect()
    await warnIfVolatile(connection, logger)
    const lock = await lockDatabase(connection)
    lock.on('error', logError)
    // The package has no types.
    const name: string = 'aedes-persistence-redis'
    const { default: create } = (await import(name)) as { readonly default: PersistenceFactory }
    const persistence = create({
      conn: connection,
      maxSessionDelivery: maxQueuedMessages,
      packetTTL: () => QUEUED_SECONDS,
    })
    await forgetWillsOnReconnect(persistence)
    return {
      persistence,
      readSessions: () => readSessions(connection),
      close: async () => {
        lock.disconnect()
        await connection.quit().catch(() => connection.disconnect())
      },
    }
  } catch (cause) {
    connection.disconnect()
    if (cause instanceof CommandError) throw cause
    // Never the URL: it may contain a password.
    const text = `the Redis of --persistence does not answer: ${(cause as Error).message} (start it, or correct the URL)`
    throw new CommandError(text, EXIT.unavailable, { cause })
  }
}

/**
 * Reserves a database for this broker until its connection ends. Why: each broker delivers only its own messages to its
 * clients, so a second one would lose those of the first. Returns the connection that holds it.
 */
async function lockDatabase(connection: Redis): Promise<Redis> {
  const channel = `topicgate:persistence:${connection.options.db ?? 0}`
  const lock = connection.duplicate()
  await lock.subscribe(channel)
  for (let waitedMs = 0; ; waitedMs += RELEASE_CHECK_MS) {
    const [, holders] = await connection.pubsub('NUMSUB', channel)
    if (Number(holders) <= 1) return lock
    if (waitedMs >= RELEASE_MS) break
    await new Promise(resolve => setTimeout(resolve, RELEASE_CHECK_MS))
  }
  lock.disconnect()
  const text = 'another broker uses the database of --persistence (give each its own, as redis://host/1)'
  throw new CommandError(text, EXIT.unavailable)
}

/** Warns if the Redis loses data when it ends or is full. */
async function warnIfVolatile(connection: Redis, logger: Logger): Promise<void> {
  const info = await connection.info()
  if (!/^aof_enabled:1/m.test(info))
    logger.warn({}, 'the Redis of --persistence loses recent messages when it ends: set appendonly yes')
  if (!/^maxmemory_policy:noeviction/m.test(info))
    logger.warn(
      {},
      'the Redis of --persistence drops sessions when it is full: set maxmemory-policy noeviction',
    )
}

/**
 * Removes the will that an earlier run stored for a client when that client connects. Why: aedes looks for wills of the
 * running broker only, and would publish the old one minutes later.
 */
async function forgetWillsOnReconnect(persistence: AedesPersistence): Promise<void> {
  const earlier = new Map<string, string>()
  for await (const { clientId, brokerId } of persistence.streamWill({})) earlier.set(clientId, brokerId)
  const delWill = persistence.delWill.bind(persistence)
  persistence.delWill = async client => {
    const brokerId = client.brokerId === undefined ? earlier.get(client.id) : undefined
    if (brokerId !== undefined) {
      earlier.delete(client.id)
      await delWill({ id: client.id, brokerId })
    }
    return delWill(client)
  }
}

async function* readSessions(connection: Redis): AsyncGenerator<StoredSession> {
  const ids = await connection.smembers('clients')
  for (let start = 0; start < ids.length; start += BATCH) {
    const batch = ids.slice(start, start + BATCH)
    const lists = await run(
      connection,
      batch.map(id => ['lrange', `outgoing:${encodeURIComponent(id)}`, '0', '-1']),
    )
    for (const [index, clientId] of batch.entries()) {
      const keys = (lists[index] ?? []) as readonly string[]
      const sizes = await run(
        connection,
        keys.map(key => ['strlen', key]),
      )
      const stored = sizes.map(Number).filter(size => size > 0)
      yield {
        clientId,
        queuedMessages: stored.length,
        queuedBytes: stored.reduce((sum, size) => sum + size, 0),
      }
    }
  }
}

/** Sends commands in one round trip. Rejects with the first error. */
async function run(connection: Redis, commands: readonly string[][]): Promise<readonly unknown[]> {
  if (commands.length === 0) return []
  const results = (await connection.pipeline(commands.map(command => [...command])).exec()) ?? []
  return results.map(([error, value]) => {
    if (error) throw error
    return value
  })
}
