import { writeFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { MqttClient } from 'mqtt'
import { beforeAll, describe, expect, it } from 'vitest'
import { Folder } from '../src/cli/folder.ts'
import { ensureBuilt } from '../support/built.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { until } from '../support/wait.ts'
import { logged, startCommand } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

function limitTo(count: number): string {
  return `version: 1\nrules:\n  - { name: all, per: client, limit: ${count}/day, exceeded: drop }\n`
}

/** How many of twenty messages a new client gets through. */
async function countPassed(port: number, clientId: string): Promise<number> {
  await using subscriber = await connectClient({ port })
  await subscriber.subscribe(`t/${clientId}`, 1)
  await using client = await connectClient({ port, clientId })
  for (let n = 0; n < 20; n++) await client.publish(`t/${clientId}`, String(n), { qos: 1 })
  await until(() => subscriber.messages.length > 0)
  // All are acknowledged, so what passed has been handed on; a ping comes back behind it.
  await subscriber.publish(`t/${clientId}`, 'last', { qos: 1 })
  await until(() => subscriber.messages.at(-1)?.text === 'last')
  return subscriber.messages.length - 1
}

describe('topicgate broker', () => {
  it('limits what passes, over TCP and WebSocket', async () => {
    using folder = new Folder()
    await using broker = startCommand(
      'broker',
      '-p',
      folder.file('policy.yaml', limitTo(5)),
      '--port',
      '0',
      '--ws',
      '0',
    )
    const { port, wsPort, msg } = await logged(broker, /ready/)
    expect(msg).toBe(`ready: mqtt://127.0.0.1:${port} ws://127.0.0.1:${wsPort}`)
    expect(await countPassed(Number(port), 'by-tcp')).toBe(5)
    await using client = await connectClient({ port: Number(wsPort), protocol: 'ws', clientId: 'by-ws' })
    await client.subscribe('ws', 0)
    for (let n = 0; n < 8; n++) await client.publish('ws', String(n), { qos: 1 })
    expect((await client.received(5)).map(({ text }) => text)).toEqual(['0', '1', '2', '3', '4'])
    await logged(broker, /"client":"by-ws"/)
  })

  it('takes a changed policy while it runs, and keeps the old one where the new one is broken', async () => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', limitTo(5))
    await using broker = startCommand('broker', policy, '--port', '0')
    const port = Number((await logged(broker, /ready/)).port)

    writeFileSync(policy, limitTo(7))
    broker.signal('SIGHUP')
    await logged(broker, /policy reloaded/)
    expect(await countPassed(port, 'after-change')).toBe(7)

    writeFileSync(policy, 'rules:\n  - { nme: all, limit: 3/parsec }\n')
    broker.signal('SIGHUP')
    expect(await logged(broker, /policy.yaml:2:/)).toMatchObject({ level: 50, line: 2 })
    expect(await logged(broker, /the old one stays/)).toMatchObject({ level: 50 })
    expect(await countPassed(port, 'after-bad-change')).toBe(7)
  })

  it.each(['SIGTERM', 'SIGINT'] as const)('ends cleanly at %s, with clients connected', async signal => {
    using folder = new Folder()
    await using broker = startCommand('broker', folder.file('policy.yaml', limitTo(5)), '--port', '0')
    const { port } = await logged(broker, /ready/)
    await using client = await connectClient({ port: Number(port) })
    let closed = false
    client.client.once('close', () => {
      closed = true
    })
    broker.signal(signal)
    expect((await broker.ended).code).toBe(0)
    await until(() => closed)
    expect(await logged(broker, /"ended"/)).toMatchObject({ msg: 'ended' })
  })

  it('lets what it holds pass before it ends', async () => {
    using folder = new Folder()
    const policy = 'rules: [{ name: slow, topic: "t/#", limit: 10/s burst 1, exceeded: throttle }]'
    await using broker = startCommand('broker', folder.file('policy.yaml', policy), '--port', '0')
    const port = Number((await logged(broker, /ready/)).port)
    await using client = await connectClient({ port })
    await client.subscribe('t/#', 0)
    for (let n = 0; n < 6; n++) client.client.publish('t/x', String(n))
    await client.received(1)
    broker.signal('SIGTERM')
    await client.received(6)
    expect(client.messages.map(({ text }) => text)).toEqual(['0', '1', '2', '3', '4', '5'])
    expect((await broker.ended).code).toBe(0)
  })

  it('exits with 69 where another program has the port, and says so', async () => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', limitTo(5))
    await using first = startCommand('broker', policy, '--port', '0')
    const { port } = await logged(first, /ready/)
    await using second = startCommand('broker', policy, '--port', String(port))
    expect((await second.ended).code).toBe(69)
    expect(second.stderr).toBe(
      `error: cannot listen at 127.0.0.1:${port}: another program uses it (choose another with --port)\n`,
    )
    await using third = startCommand('broker', policy, '--port', '0', '--ws', String(port))
    expect((await third.ended).code).toBe(69)
    expect(third.stderr).toContain('choose another with --ws')
  })

  it('does not start with a policy that is broken, or that it cannot enact', async () => {
    using folder = new Folder()
    await using broken = startCommand(
      'broker',
      folder.file('broken.yaml', 'rules: [{ name: a }]'),
      '--port',
      '0',
    )
    expect((await broken.ended).code).toBe(1)
    expect(broken.stderr).toContain('broken.yaml:1:')
    const policy = folder.file('retry.yaml', 'rules: [{ name: a, limit: 1/s, exceeded: retry }]')
    await using unfit = startCommand('broker', policy, '--port', '0')
    expect((await unfit.ended).code).toBe(1)
    expect(unfit.stderr).toContain('aedes cannot enact "retry"')
  })

  it('believes the proxies it was told to trust', async () => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', 'rules: [{ name: all, per: ip, limit: 1/day, exceeded: drop }]')
    await using broker = startCommand(
      ...['broker', policy, '--port', '0', '--ws', '0', '--trust-proxy', '127.0.0.0/8'],
    )
    const { wsPort } = await logged(broker, /ready/)
    for (const ip of ['203.0.113.1', '203.0.113.2']) {
      const wsOptions = { headers: { 'x-forwarded-for': ip } }
      await using client = await connectClient({ port: Number(wsPort), protocol: 'ws', wsOptions })
      await client.subscribe('t', 0)
      await client.publish('t', ip, { qos: 1 })
      expect((await client.received(1)).map(({ text }) => text)).toEqual([ip])
    }
  })

  it('reads the PROXY headers of the proxies it was told to trust', async () => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', 'rules: [{ name: all, per: ip, limit: 1/day, exceeded: drop }]')
    const trusting = ['--trust-proxy', '127.0.0.0/8', '--proxy-protocol']
    await using broker = startCommand('broker', policy, '--port', '0', ...trusting)
    const port = Number((await logged(broker, /ready/)).port)
    const passed: string[] = []
    for (const ip of ['203.0.113.1', '203.0.113.2', '203.0.113.1']) {
      const client = new MqttClient(() => connectThroughProxy(port, ip), { reconnectPeriod: 0, clientId: '' })
      client.on('message', (_topic, payload) => passed.push(payload.toString()))
      await client.subscribeAsync('t', { qos: 1 })
      await client.publishAsync('t', ip, { qos: 1 })
      // It is answered behind whatever was delivered before it.
      await client.unsubscribeAsync('t')
      await client.endAsync(true)
    }
    expect(passed).toEqual(['203.0.113.1', '203.0.113.2'])
  })
})

function connectThroughProxy(port: number, ip: string): Socket {
  const socket = connect(port, '127.0.0.1')
  socket.write(`PROXY TCP4 ${ip} 127.0.0.1 50000 ${port}\r\n`)
  return socket
}
