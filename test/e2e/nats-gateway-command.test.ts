import { writeFileSync } from 'node:fs'
import { connect as connectV3, nkeyAuthenticator, nkeys, wsconnect } from '@nats-io/transport-node'
import { connect as connectV2 } from 'nats'
import { beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { Folder } from '../src/cli/folder.ts'
import { ensureBuilt } from '../support/built.ts'
import { startNats } from '../support/nats.ts'
import { makeCertificate } from '../support/tls.ts'
import { until } from '../support/wait.ts'
import { logged, startCommand } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

/** A policy that lets each client pass some messages a day. */
function policyOf(rule: string): string {
  return `dialect: nats\nrules:\n  - { name: all, ${rule} }\n`
}

interface Connection {
  publish(subject: string, payload: string): void
  flush(): Promise<void>
  close(): Promise<void>
}

/** Publishes ten messages, and returns how many reach a subscriber of the server itself. */
async function countPassed(client: Connection, serverUrl: string, subject: string): Promise<number> {
  const subscriber = await connectV3({ servers: serverUrl })
  let arrived = 0
  subscriber.subscribe(subject, { callback: () => void arrived++ })
  await subscriber.flush()
  for (let n = 0; n < 10; n++) client.publish(subject, String(n))
  await client.flush()
  await client.close()
  await subscriber.flush()
  await subscriber.close()
  return arrived
}

async function fetchText(url: string): Promise<string> {
  const response = await fetch(url)
  return response.text()
}

describe('topicgate gateway, for NATS', () => {
  it('limits clients over TCP and WebSocket, reloads at SIGHUP, counts, and ends at SIGTERM', async () => {
    using folder = new Folder()
    await using server = await startNats()
    const policy = folder.file('policy.yaml', policyOf('per: client, limit: 3/day, exceeded: drop'))
    await using gateway = startCommand(
      ...['gateway', policy, '--upstream', server.url, '--port', '0', '--ws', '0', '--health', '0'],
    )
    const { port, wsPort, msg } = await logged(gateway, /ready/)
    const readyUrl = /http:\S+/.exec(String(msg))![0]
    const url = `nats://127.0.0.1:${port}`
    expect(msg).toBe(`ready: ${url} ws://127.0.0.1:${wsPort} ${readyUrl}`)
    expect(await countPassed(await connectV2({ servers: url, name: 'one' }), server.url, 'a')).toBe(3)
    const webSocket = await wsconnect({
      servers: `ws://127.0.0.1:${wsPort}`,
      name: 'web',
      // The client wants the type of browsers.
      wsFactory: async address => ({ socket: new WebSocket(address) as never, encrypted: false }),
    })
    expect(await countPassed(webSocket, server.url, 'b')).toBe(3)
    writeFileSync(policy, policyOf('per: client, limit: 5/day, exceeded: drop'))
    gateway.signal('SIGHUP')
    await logged(gateway, /policy reloaded/)
    expect(await countPassed(await connectV3({ servers: url, name: 'two' }), server.url, 'c')).toBe(5)
    const metrics = await fetchText(readyUrl.replace('ready', 'metrics'))
    expect(metrics).toMatch(/^topicgate_gateway_upstream_connects_total\{result="connected"\} 3$/m)
    expect(metrics).toMatch(`topicgate_gateway_upstream_healthy{upstream="127.0.0.1:${server.port}"} 1`)
    const client = await connectV3({ servers: url, reconnect: false })
    gateway.signal('SIGTERM')
    expect((await gateway.ended).code).toBe(0)
    await client.closed()
  })

  it('serves TLS before and behind the INFO, in front of a server over TLS', async () => {
    using folder = new Folder()
    const { certFile, keyFile, ca } = await makeCertificate(folder.path)
    await using server = await startNats({
      config: `tls { cert_file: "${certFile}", key_file: "${keyFile}" }`,
    })
    await using gateway = startCommand(
      ...['gateway', folder.file('policy.yaml', policyOf('per: client, limit: 3/day, exceeded: drop'))],
      ...['--tls', '0', '--tls-cert', certFile, '--tls-key', keyFile],
      ...['--upstream', server.url.replace('nats:', 'tls:'), '--upstream-ca', certFile],
    )
    const { tlsPort } = await logged(gateway, /ready/)
    const servers = `127.0.0.1:${tlsPort}`
    for (const [generation, connect] of Object.entries({ connectV2, connectV3 })) {
      for (const handshakeFirst of [false, true]) {
        const name = `${generation} ${handshakeFirst}`
        const client = await connect({ servers, name, tls: { ca, handshakeFirst } })
        const [seen, own] = [client.info?.client_ip, await connect({ servers, name: 'other', tls: { ca } })]
        expect(seen).toBe('127.0.0.1')
        let arrived = 0
        own.subscribe('a', { callback: () => void arrived++ })
        await own.flush()
        for (let n = 0; n < 10; n++) client.publish('a', String(n))
        await client.flush()
        await own.flush()
        expect(arrived, name).toBe(3)
        await client.close()
        await own.close()
      }
    }
  })

  it('forwards the signature of an nkey, whose limits follow it', async () => {
    using folder = new Folder()
    const key = nkeys.createUser()
    await using server = await startNats({
      config: `authorization { users = [ { nkey: ${key.getPublicKey()} }, { user: u, password: p } ] }`,
    })
    await using gateway = startCommand(
      ...['gateway', folder.file('policy.yaml', policyOf('per: user, limit: 3/day, exceeded: drop'))],
      ...['--upstream', server.url, '--port', '0'],
    )
    const { port } = await logged(gateway, /ready/)
    const signed = { servers: `127.0.0.1:${port}`, authenticator: nkeyAuthenticator(key.getSeed()) }
    const subscriber = await connectV3({ servers: server.url, user: 'u', pass: 'p' })
    let arrived = 0
    subscriber.subscribe('a', { callback: () => void arrived++ })
    await subscriber.flush()
    for (let time = 0; time < 2; time++) {
      const client = await connectV3(signed)
      for (let n = 0; n < 2; n++) client.publish('a', String(n))
      await client.flush()
      await client.close()
    }
    await subscriber.flush()
    expect(arrived).toBe(3)
    await subscriber.close()
    const other = { ...signed, authenticator: nkeyAuthenticator(nkeys.createUser().getSeed()) }
    await expect(connectV3({ ...other, reconnect: false })).rejects.toThrow(/[Aa]uthorization/)
  })

  it('closes sockets that rules on: accept refuse, and serves clients by other servers if one fails', async () => {
    using folder = new Folder()
    const [first, second] = await Promise.all([startNats(), startNats()])
    await using gateway = startCommand(
      ...[
        'gateway',
        folder.file('policy.yaml', policyOf('on: accept, per: ip, limit: 12/day, exceeded: drop')),
      ],
      ...['--upstream', first.url, '--upstream', second.url, '--port', '0'],
    )
    const servers = `127.0.0.1:${(await logged(gateway, /ready/)).port}`
    const options = { servers, reconnect: false }
    await first.stop()
    const clients = await Promise.all(Array.from({ length: 12 }, () => connectV3(options)))
    await expect(connectV3(options)).rejects.toThrow()
    expect(await countPassed(clients[0]!, second.url, 'a')).toBe(10)
    await second.stop()
    await until(() => clients.slice(1).every(client => client.isClosed()), { what: 'the end of all clients' })
  })

  it('refuses to start with an outcome that it cannot enact, topics of MQTT, or options of MQTT', async () => {
    using folder = new Folder()
    const upstream = ['--upstream', 'nats://127.0.0.1:1', '--port', '0']
    const start = async (policy: string, ...args: string[]): Promise<string> => {
      const ended = await startCommand('gateway', folder.file('p.yaml', policy), ...upstream, ...args).ended
      expect(ended.code).not.toBe(0)
      return ended.stdout + ended.stderr
    }
    const drop = policyOf('limit: 3/day, exceeded: drop')
    expect(await start(policyOf('limit: 3/day, exceeded: retry'))).toContain(
      'the NATS gateway cannot enact "retry" on publish',
    )
    expect(await start(drop.replace('dialect: nats\n', ''))).toContain('write dialect: nats in it')
    expect(await start(drop, '--proxy-key', 'absent')).toContain('--proxy-key cannot be used: ENOENT')
    expect(await start(drop, '--proxy-key', folder.file('seed', 'no seed'))).toContain(
      'not the seed of an nkey',
    )
    expect(await start(drop, '--window', '5')).toContain('--window is for MQTT brokers')
    expect(await start(drop, '--upstream', 'mqtt://127.0.0.1:1')).toContain('a gateway serves one protocol')
  })
})
