import { beforeAll, describe, expect, it } from 'vitest'
import { Folder } from '../src/cli/folder.ts'
import { ensureBuilt } from '../support/built.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { startRedis } from '../support/redis.ts'
import { until } from '../support/wait.ts'
import { logged, startCommand } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

const POLICY = 'rules: [{ name: all, per: client, limit: 1000000/s }]'
/** Messages of QoS 1 in flight at the publisher. */
const IN_FLIGHT = 20

describe('topicgate broker --persistence', () => {
  it('loses nothing that it has acknowledged when it is killed, neither queued nor retained', async () => {
    using folder = new Folder()
    await using redis = await startRedis()
    const policy = folder.file('policy.yaml', POLICY)
    const start = () => startCommand('broker', policy, '--port', '0', '--persistence', `${redis.url}/1`)
    const acknowledged: string[] = []
    const received = new Set<string>()
    let next = 0
    for (let round = 0; round < 2; round++) {
      await using broker = start()
      const port = Number((await logged(broker, /ready/)).port)
      await using subscriber = await connectClient({ port, clientId: 'session', clean: false })
      expect(subscriber.connack.sessionPresent).toBe(round > 0)
      if (round === 0) await subscriber.subscribe('data/#', 1)
      subscriber.client.on('message', (_topic, payload) => received.add(payload.toString()))
      for (const { text } of subscriber.messages) received.add(text)
      // The session is offline in the second round only.
      if (round === 1) await subscriber.close()
      await using publisher = await connectClient({ port, clientId: 'publisher', reconnectPeriod: 0 })
      await using noise = await connectClient({ port, clientId: 'noise' })
      await publisher.publish(`kept/${round}`, String(round), { qos: 1, retain: true })
      const goal = acknowledged.length + 200
      let isOver = false
      const publish = (): void => {
        if (isOver) return
        const text = String(next++)
        noise.client.publish('data/noise', 'noise')
        publisher.client.publish('data/x', text, { qos: 1 }, error => {
          if (error) return
          acknowledged.push(text)
          publish()
        })
      }
      for (let n = 0; n < IN_FLIGHT; n++) publish()
      await until(() => acknowledged.length >= goal)
      broker.signal('SIGKILL')
      await broker.ended
      isOver = true
    }
    await using broker = start()
    const port = Number((await logged(broker, /ready/)).port)
    await using subscriber = await connectClient({ port, clientId: 'session', clean: false })
    subscriber.client.on('message', (_topic, payload) => received.add(payload.toString()))
    await until(() => {
      for (const { text } of subscriber.messages) received.add(text)
      return acknowledged.every(text => received.has(text))
    })
    expect(acknowledged.length).toBeGreaterThanOrEqual(400)
    await subscriber.subscribe('kept/#', 1)
    await until(() => subscriber.messages.filter(({ topic }) => topic.startsWith('kept/')).length === 2)
  })

  it('refuses a database that another broker uses, and a Redis that is not there', async () => {
    using folder = new Folder()
    await using redis = await startRedis()
    const policy = folder.file('policy.yaml', POLICY)
    await using first = startCommand('broker', policy, '--port', '0', '--persistence', redis.url)
    expect(await logged(first, /appendonly/)).toMatchObject({ level: 40 })
    await logged(first, /ready/)
    await using second = startCommand('broker', policy, '--port', '0', '--persistence', redis.url)
    expect((await second.ended).code).toBe(69)
    expect(second.stderr).toContain('another broker uses the database of --persistence')
    await using third = startCommand('broker', policy, '--port', '0', '--persistence', 'redis://127.0.0.1:1')
    expect((await third.ended).code).toBe(69)
    expect(third.stderr).toContain('the Redis of --persistence does not answer')
    await using wrong = startCommand('broker', policy, '--persistence', 'mongodb://secret@host')
    expect((await wrong.ended).code).toBe(2)
    expect(wrong.stderr).toContain('--persistence is not the URL of a Redis')
    expect(wrong.stderr).not.toContain('secret')
  })

  it('does not publish the will of a client that came back after a crash', async () => {
    using folder = new Folder()
    await using redis = await startRedis()
    const policy = folder.file('policy.yaml', POLICY)
    const will = { topic: 'wills', payload: Buffer.from('gone'), qos: 1 as const, retain: false }
    {
      await using broker = startCommand('broker', policy, '--port', '0', '--persistence', redis.url)
      const port = Number((await logged(broker, /ready/)).port)
      await using client = await connectClient({ port, clientId: 'device', will })
      expect(client.client.connected).toBe(true)
      broker.signal('SIGKILL')
      await broker.ended
    }
    const { Redis } = await import('ioredis')
    const connection = new Redis(redis.url)
    expect(await connection.llen('will')).toBe(1)
    await using broker = startCommand('broker', policy, '--port', '0', '--persistence', redis.url)
    const port = Number((await logged(broker, /ready/)).port)
    await using client = await connectClient({ port, clientId: 'device' })
    expect(client.client.connected).toBe(true)
    await until(async () => (await connection.llen('will')) === 0)
    connection.disconnect()
  })
})
