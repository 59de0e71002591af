import { once } from 'node:events'
import { Redis, type RedisOptions } from 'ioredis'

/** An ioredis client as users are advised to make it, connected. */
export async function openIoredis(url: string, options: RedisOptions = {}): Promise<Redis> {
  const client = new Redis(url, {
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    autoResendUnfulfilledCommands: false,
    retryStrategy: () => 50,
    ...options,
  })
  client.on('error', () => {})
  if (client.status !== 'ready') await once(client, 'ready')
  return client
}
