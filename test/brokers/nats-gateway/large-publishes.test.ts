import type { Socket } from 'node:net'
import { describe, expect, it } from 'vitest'
import { limit, type Middleware } from '../../../src/index.ts'
import { until } from '../../support/wait.ts'
import { natsGate } from '../nats/scene.ts'
import { startGateway, type TestGateway } from './harness.ts'
import { RawClient } from './raw-client.ts'

const PAYLOAD = 'x'.repeat(300_000)
/** Characters of a message that are sent first: its line and some of its payload. */
const FIRST = 20_000

interface Scene extends AsyncDisposable {
  readonly gateway: TestGateway
  readonly client: RawClient
  /** Subscriber of the server to all subjects. */
  readonly watcher: RawClient
  /** Connection of the client to the server. */
  readonly upstream: Socket
  /** Outcomes of publishes. */
  readonly decisions: string[]
}

async function openScene(...middleware: readonly Middleware[]): Promise<Scene> {
  const decisions: string[] = []
  const gate = natsGate(...middleware)
  gate.on('decision', ({ outcome }, { on }) => {
    if (on === 'publish') decisions.push(outcome)
  })
  const upstreams: Socket[] = []
  const gateway = await startGateway({
    gate,
    onUpstream: socket => {
      upstreams.push(socket)
      return socket
    },
  })
  const watcher = await RawClient.open(gateway.server.port)
  await watcher.connect()
  watcher.send('SUB > 1\r\n')
  await watcher.flush()
  const client = await RawClient.open(gateway.port)
  await client.connect()
  return {
    ...{ gateway, client, watcher, upstream: upstreams[0]!, decisions },
    [Symbol.asyncDispose]: async () => {
      await client[Symbol.asyncDispose]()
      await watcher[Symbol.asyncDispose]()
      await gateway.close()
    },
  }
}

function publishLine(subject: string, payload: string): string {
  return `PUB ${subject} ${payload.length}\r\n${payload}\r\n`
}

describe('a large message', () => {
  it('is forwarded while it arrives', async () => {
    await using scene = await openScene(limit({ name: 'r', rate: '1/hour burst 1', exceeded: 'drop' }))
    const { client, watcher, upstream, decisions } = scene
    const before = upstream.bytesWritten
    const line = publishLine('a', PAYLOAD)
    client.send(line.slice(0, FIRST))
    await until(() => upstream.bytesWritten === before + FIRST)
    expect(decisions).toEqual(['deliver'])
    client.send(line.slice(FIRST))
    await watcher.receives(`MSG a 1 ${PAYLOAD.length}\r\n${PAYLOAD}\r\n`)
    expect(upstream.bytesWritten).toBe(before + line.length)
    expect(decisions).toEqual(['deliver'])
  })

  it.each(['reject', 'drop'] as const)(
    'with %s is answered while it arrives, and its bytes are discarded',
    async exceeded => {
      await using scene = await openScene(limit({ name: 'r', maxSize: '1kB', exceeded }))
      const { client, watcher, upstream, decisions } = scene
      client.send('SUB inbox 7\r\n')
      await client.flush()
      const before = upstream.bytesWritten
      const line = publishLine('a inbox', PAYLOAD)
      client.send(line.slice(0, FIRST))
      await client.receives('HMSG inbox 7 ')
      expect(client.received).toContain('Nats-Service-Error-Code: 429')
      client.send(`${line.slice(FIRST)}PUB a 5\r\nsmall\r\n`)
      await watcher.receives('small')
      expect(watcher.lines.slice(-2)).toEqual(['MSG a 1 5', 'small'])
      expect(upstream.bytesWritten).toBe(before + 'PUB a 5\r\nsmall\r\n'.length)
      expect(decisions).toEqual([exceeded, 'deliver'])
    },
  )

  it('is decided when its headers are there', async () => {
    const when = { header: { name: 'kind', equals: 'alarm' } }
    await using scene = await openScene(limit({ name: 'r', maxSize: '0B', when, exceeded: 'drop' }))
    const { client, watcher, upstream, decisions } = scene
    const block = `NATS/1.0\r\ntext: ${'x'.repeat(2 * FIRST)}\r\nkind: alarm\r\n\r\n`
    const line = `HPUB a ${block.length} ${block.length + PAYLOAD.length}\r\n${block}${PAYLOAD}\r\n`
    const before = upstream.bytesWritten
    client.send(line.slice(0, FIRST))
    client.send(line.slice(FIRST, block.length + FIRST))
    await until(() => decisions.length > 0)
    client.send(`${line.slice(block.length + FIRST)}PUB b 1\r\ny\r\n`)
    await watcher.receives('MSG b 1 1')
    expect(decisions).toEqual(['drop', 'deliver'])
    expect(upstream.bytesWritten).toBe(before + 'PUB b 1\r\ny\r\n'.length)
  })

  it('waits for its payload if a rule needs it', async () => {
    const when = { payload: { field: 'kind', equals: 'alarm' } }
    await using scene = await openScene(limit({ name: 'r', maxSize: '0B', when, exceeded: 'drop' }))
    const { client, watcher, decisions } = scene
    const line = publishLine('a', JSON.stringify({ text: 'x'.repeat(2 * FIRST), kind: 'alarm' }))
    client.send(line.slice(0, FIRST))
    client.send(`${line.slice(FIRST)}PUB b 1\r\ny\r\n`)
    await watcher.receives('MSG b 1 1')
    expect(decisions).toEqual(['drop', 'deliver'])
    expect(watcher.received).not.toContain('MSG a ')
  })

  it('that is held is decided once, and passes as a whole in its turn', async () => {
    await using scene = await openScene(limit({ name: 'r', rate: '5/s burst 1', exceeded: 'throttle' }))
    const { gateway, client, watcher } = scene
    client.send(publishLine('a', 'first'))
    await watcher.receives('first')
    const line = publishLine('a', PAYLOAD)
    client.send(line.slice(0, FIRST))
    client.send(line.slice(FIRST) + publishLine('a', 'last'))
    await watcher.receives('last')
    const seen = watcher.received.slice(watcher.received.indexOf('MSG a'))
    expect(seen).toBe(
      `MSG a 1 5\r\nfirst\r\nMSG a 1 ${PAYLOAD.length}\r\n${PAYLOAD}\r\nMSG a 1 4\r\nlast\r\n`,
    )
    expect(gateway.gateway.stats()).toMatchObject({ held: 0, dropped: 0 })
  })

  it('that is incomplete at the end gets no line of the gateway into its payload', async () => {
    await using scene = await openScene()
    const { gateway, client, watcher, upstream } = scene
    const before = upstream.bytesWritten
    const line = publishLine('a', PAYLOAD)
    client.send(line.slice(0, -3))
    await until(() => upstream.bytesWritten === before + line.length - 3)
    await gateway.gateway.close({ graceMs: 1 })
    await client.closes()
    expect(upstream.bytesWritten).toBe(before + line.length - 3)
    await watcher.flush()
    expect(watcher.received).not.toContain('MSG a ')
  })
})
