import { copyFileSync, readFileSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from 'node:net'
import { beforeAll, describe, expect, it } from 'vitest'
import { readProxyHeader } from '../../src/broker-support/proxy-header.ts'
import { Folder } from '../src/cli/folder.ts'
import { ensureBuilt } from '../support/built.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { makeCertificate } from '../support/tls.ts'
import { until } from '../support/wait.ts'
import { logged, startCommand } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

function limitTo(count: number): string {
  return `rules:\n  - { name: all, per: client, limit: ${count}/day, exceeded: drop }\n`
}

function limitByUser(): string {
  return 'rules:\n  - { name: all, per: user, limit: 2/day, exceeded: drop }\n'
}

/** Returns how many of ten messages of a client reach a subscriber of the broker. */
async function countPassed(port: number, brokerPort: number, clientId: string): Promise<number> {
  await using subscriber = await connectClient({ port: brokerPort })
  await subscriber.subscribe(`t/${clientId}`, 1)
  await using client = await connectClient({ port, clientId })
  for (let n = 0; n < 10; n++) await client.publish(`t/${clientId}`, String(n), { qos: 1 })
  await subscriber.publish(`t/${clientId}`, 'last', { qos: 1 })
  await until(() => subscriber.messages.at(-1)?.text === 'last')
  return subscriber.messages.length - 1
}

async function fetchText(url: string): Promise<string> {
  const response = await fetch(url)
  return response.text()
}

describe('topicgate gateway', () => {
  it('limits clients of mosquitto, reloads at SIGHUP, counts, and ends at SIGTERM', async () => {
    using folder = new Folder()
    await using mosquitto = await startMosquitto()
    const policy = folder.file('policy.yaml', limitTo(3))
    await using gateway = startCommand(
      ...['gateway', policy, '--upstream', mosquitto.url, '--port', '0', '--ws', '0', '--health', '0'],
    )
    const { port, wsPort, msg } = await logged(gateway, /ready/)
    const readyUrl = /http:\S+/.exec(String(msg))![0]
    expect(msg).toBe(`ready: mqtt://127.0.0.1:${port} ws://127.0.0.1:${wsPort} ${readyUrl}`)
    expect(JSON.parse(await fetchText(readyUrl))).toMatchObject({ ready: true, rules: 1 })
    expect(await countPassed(Number(port), mosquitto.port, 'one')).toBe(3)
    {
      await using client = await connectClient({ port: Number(wsPort), protocol: 'ws', protocolVersion: 5 })
      await client.subscribe('ws', 1)
      await client.publish('ws', 'hello', { qos: 1 })
      await client.received(1)
    }
    writeFileSync(policy, limitTo(5))
    gateway.signal('SIGHUP')
    await logged(gateway, /policy reloaded/)
    expect(await countPassed(Number(port), mosquitto.port, 'two')).toBe(5)
    const metrics = await fetchText(readyUrl.replace('ready', 'metrics'))
    expect(metrics).toMatch(/^topicgate_gateway_upstream_connects_total\{result="connected"\} 3$/m)
    expect(metrics).toMatch(/^topicgate_gateway_answers_total\{packet="puback",code="0x00"\} 12$/m)
    expect(metrics).toMatch(`topicgate_gateway_upstream_healthy{upstream="127.0.0.1:${mosquitto.port}"} 1`)
    await using client = await connectClient({ port: Number(port) })
    gateway.signal('SIGTERM')
    expect((await gateway.ended).code).toBe(0)
    await until(() => !client.client.connected)
  })

  it('serves TLS with user names from certificates, in front of a broker over TLS', async () => {
    using folder = new Folder()
    const { certFile, keyFile, ca } = await makeCertificate(folder.path)
    // Mosquitto may not read the folder as a user of its own.
    const config = [`certfile ${certFile}`, `keyfile ${keyFile}`, 'user root']
    await using mosquitto = await startMosquitto({ config })
    await using gateway = startCommand(
      ...['gateway', folder.file('policy.yaml', limitByUser()), '--tls', '0', '--tls-cert', certFile],
      ...['--tls-key', keyFile, '--tls-ca', certFile, '--username-from', 'cn'],
      ...['--upstream', mosquitto.url.replace('mqtt:', 'mqtts:'), '--upstream-ca', certFile],
    )
    const port = Number((await logged(gateway, /ready/)).tlsPort)
    const [cert, key] = [readFileSync(certFile), readFileSync(keyFile)]
    const certified = { port, protocol: 'mqtts' as const, ca, cert, key }
    await using subscriber = await connectClient({ port, protocol: 'mqtts', ca })
    await subscriber.subscribe('t', 1)
    for (const clientId of ['a', 'b']) {
      await using client = await connectClient({ ...certified, clientId, username: `other-${clientId}` })
      for (let n = 0; n < 3; n++) await client.publish('t', `${clientId}${n}`, { qos: 1 })
    }
    await subscriber.publish('t', 'last', { qos: 1 })
    await until(() => subscriber.messages.at(-1)?.text === 'last')
    // Both are localhost, the common name.
    expect(subscriber.messages.map(({ text }) => text)).toEqual(['a0', 'a1', 'last'])
  })

  it('loads changed files for TLS to brokers at SIGHUP', async () => {
    using folder = new Folder()
    using otherFolder = new Folder()
    const { certFile, keyFile } = await makeCertificate(folder.path)
    const other = await makeCertificate(otherFolder.path)
    const config = [`certfile ${certFile}`, `keyfile ${keyFile}`, 'user root']
    await using mosquitto = await startMosquitto({ config })
    await using gateway = startCommand(
      ...['gateway', folder.file('policy.yaml', limitTo(3)), '--port', '0'],
      ...['--upstream', mosquitto.url.replace('mqtt:', 'mqtts:'), '--upstream-ca', other.certFile],
    )
    const port = Number((await logged(gateway, /ready/)).port)
    await expect(connectClient({ port })).rejects.toThrow('Server unavailable')
    writeFileSync(other.certFile, 'not a certificate')
    gateway.signal('SIGHUP')
    expect(await logged(gateway, /certificate for brokers was not reloaded/)).toMatchObject({ level: 50 })
    copyFileSync(certFile, other.certFile)
    gateway.signal('SIGHUP')
    await logged(gateway, /TLS files for brokers reloaded/)
    await using client = await connectClient({ port })
    expect(client.connack.returnCode).toBe(0)
  })

  it('tells brokers the addresses that a proxy in front of it has reported', async () => {
    using folder = new Folder()
    const received: Buffer[] = []
    const sockets: Socket[] = []
    const upstream = createServer(socket => {
      const place = sockets.push(socket) - 1
      received[place] = Buffer.alloc(0)
      socket.on('error', () => {})
      socket.on('data', chunk => {
        received[place] = Buffer.concat([received[place]!, chunk])
      })
    })
    await new Promise<void>(resolve => upstream.listen(0, '127.0.0.1', resolve))
    const { port: upstreamPort } = upstream.address() as AddressInfo
    await using gateway = startCommand(
      ...['gateway', folder.file('policy.yaml', limitTo(3)), '--port', '0', '--send-proxy', 'v2'],
      ...['--upstream', `mqtt://127.0.0.1:${upstreamPort}`, '--proxy-protocol', '--trust-proxy', '127.0.0.1'],
    )
    const port = Number((await logged(gateway, /ready/)).port)
    // The health check says that it forwards no client.
    await until(() => received[0]?.length === 16)
    expect(readProxyHeader(received[0]!)).toEqual({ kind: 'found', sizeBytes: 16 })
    const client = connectTcp(port, '127.0.0.1')
    client.on('error', () => {})
    const connect = Buffer.from('100d00044d5154540402003c000161', 'hex')
    client.write(Buffer.concat([Buffer.from('PROXY TCP4 192.0.2.7 127.0.0.1 50000 1883\r\n'), connect]))
    const bytes = await until(() => received.find(({ length }) => length >= 28 + connect.length))
    expect(readProxyHeader(bytes)).toEqual({ kind: 'found', sizeBytes: 28, ip: '192.0.2.7' })
    expect(bytes.subarray(28)).toEqual(connect)
    client.destroy()
    for (const socket of sockets) socket.destroy()
    upstream.close()
  })

  it('spreads clients over brokers, keeps each at its own, and moves those of one that fails', async () => {
    using folder = new Folder()
    const brokers = [await startMosquitto(), await startMosquitto()] as const
    try {
      await using gateway = startCommand(
        ...['gateway', folder.file('policy.yaml', limitTo(1_000)), '--port', '0', '--health', '0'],
        ...brokers.flatMap(({ url }) => ['--upstream', url]),
      )
      const { port: bound, msg } = await logged(gateway, /ready/)
      const port = Number(bound)
      const readyUrl = /http:\S+/.exec(String(msg))![0]
      const names = Array.from({ length: 12 }, (_, index) => `client-${index}`)
      /** Returns the brokers at which each client is, as each broker keeps its own retained messages. */
      const locate = async (round: string): Promise<readonly (number | undefined)[]> => {
        for (const clientId of names) {
          await using client = await connectClient({ port, clientId })
          await client.publish(`at/${round}/${clientId}`, 'x', { qos: 1, retain: true })
        }
        const found = await Promise.all(brokers.map(broker => readTopics(broker.port, `at/${round}/+`)))
        return names.map(clientId => {
          const place = found.findIndex(topics => topics.has(`at/${round}/${clientId}`))
          return place < 0 ? undefined : place
        })
      }
      const first = await locate('first')
      expect(new Set(first)).toEqual(new Set([0, 1]))
      expect(await locate('second')).toEqual(first)
      await brokers[0].stop()
      await until(async () => {
        await using client = await connectClient({ port, clientId: names[first.indexOf(0)]! })
        return client.client.connected
      })
      await using moved = await connectClient({ port, clientId: names[first.indexOf(0)]! })
      await using reader = await connectClient({ port: brokers[1].port })
      await reader.subscribe('moved', 1)
      await moved.publish('moved', 'here', { qos: 1 })
      await reader.received(1)
      expect(JSON.parse(await fetchText(readyUrl))).toMatchObject({ ready: true })
      await brokers[1].stop()
      await expect(connectClient({ port, clientId: 'late' })).rejects.toThrow('Server unavailable')
      expect(JSON.parse(await fetchText(readyUrl))).toMatchObject({ ready: false })
    } finally {
      for (const broker of brokers) await broker.stop()
    }
  })

  it('shows the demo in front of a broker, and says if that is not there', async () => {
    await using mosquitto = await startMosquitto()
    await using demo = startCommand('demo', '--upstream', mosquitto.url, '--for', '1s', '--json')
    expect((await demo.ended).code).toBe(0)
    const last = JSON.parse(demo.stdout.trimEnd().split('\n').at(-1)!) as object
    expect(last).toMatchObject({ quiet: { devices: 10 } })
    await using absent = startCommand('demo', '--upstream', 'mqtt://127.0.0.1:1', '--for', '1s')
    expect((await absent.ended).code).toBe(69)
    expect(absent.stderr).toContain('there is no MQTT broker at 127.0.0.1:1')
  })

  it('says what is wrong with its options', async () => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', limitTo(3))
    const failures: readonly (readonly [readonly string[], string])[] = [
      [[], 'no broker is given'],
      [['--upstream', 'http://secret@host'], '--upstream is not the address of an MQTT broker'],
      [
        ['--upstream', 'mqtts://host', '--upstream-cert', 'x'],
        '--upstream-cert and --upstream-key belong together',
      ],
      [['--upstream', 'mqtts://host', '--upstream-ca', 'absent'], 'cannot be used: ENOENT'],
    ]
    for (const [args, expected] of failures) {
      await using gateway = startCommand('gateway', policy, '--port', '0', ...args)
      expect((await gateway.ended).code).toBe(2)
      expect(gateway.stderr).toContain(expected)
      expect(gateway.stderr).not.toContain('secret')
    }
  })
})

/** Returns the topics of the retained messages of a broker. */
async function readTopics(port: number, filter: string): Promise<ReadonlySet<string>> {
  await using reader = await connectClient({ port })
  await reader.subscribe(filter, 1)
  await reader.publish(filter.replace('+', 'end'), 'end', { qos: 1 })
  await until(() => reader.messages.some(({ text }) => text === 'end'))
  return new Set(reader.messages.map(({ topic }) => topic))
}
