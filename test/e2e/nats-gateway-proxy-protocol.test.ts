import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { beforeAll, expect, it } from 'vitest'
import { awaitProxyHeader } from '../../src/broker-support/await-proxy-header.ts'
import { encodeProxyHeader } from '../../src/broker-support/encode-proxy-header.ts'
import { RawClient } from '../brokers/nats-gateway/raw-client.ts'
import { Folder } from '../src/cli/folder.ts'
import { ensureBuilt } from '../support/built.ts'
import { startNats } from '../support/nats.ts'
import { logged, startCommand } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

interface ProxyProtocolDoor extends AsyncDisposable {
  readonly port: number
  /** Addresses in the headers received so far; undefined for those of the gateway's own connections. */
  readonly ips: readonly (string | undefined)[]
}

/** Starts a TCP proxy in front of a server. Like a server with PROXY protocol, it serves no connection without a header. */
async function startProxyProtocolDoor(serverPort: number): Promise<ProxyProtocolDoor> {
  const ips: (string | undefined)[] = []
  const sockets = new Set<Socket>()
  const listener = createServer(socket => {
    sockets.add(socket)
    awaitProxyHeader(socket, 5_000, ip => {
      ips.push(ip)
      const upstream = connect({ port: serverPort, host: '127.0.0.1', noDelay: true })
      sockets.add(upstream)
      for (const each of [socket, upstream]) each.on('error', () => {})
      socket.pipe(upstream).pipe(socket)
    })
  })
  await new Promise<void>(resolve => listener.listen(0, '127.0.0.1', resolve))
  return {
    port: (listener.address() as AddressInfo).port,
    ips,
    [Symbol.asyncDispose]: async () => {
      for (const socket of sockets) socket.destroy()
      await new Promise(resolve => listener.close(resolve))
    },
  }
}

function headerV1(ip: string): Buffer {
  return Buffer.from(`PROXY TCP4 ${ip} 127.0.0.1 50000 4222\r\n`)
}

function headerV2(ip: string): Buffer {
  return encodeProxyHeader({ ip, port: 50_000 }, { ip: '127.0.0.1', port: 4_222 })
}

it('the NATS gateway limits clients by the addresses that a proxy reports, and reports them to the server', async () => {
  using folder = new Folder()
  await using server = await startNats()
  await using door = await startProxyProtocolDoor(server.port)
  const rule = '{ name: all, per: ip, limit: 3/day, exceeded: drop }'
  await using gateway = startCommand(
    ...['gateway', folder.file('policy.yaml', `dialect: nats\nrules: [${rule}]\n`), '--port', '0'],
    ...['--upstream', `nats://127.0.0.1:${door.port}`, '--send-proxy', 'v2'],
    ...['--proxy-protocol', '--trust-proxy', '127.0.0.1'],
  )
  const port = Number((await logged(gateway, /ready/)).port)
  await using subscriber = await RawClient.open(server.port)
  await subscriber.connect()
  subscriber.send('SUB > 1\r\n')
  await subscriber.flush()
  for (const [subject, header, ip] of [
    ['v1', headerV1('192.0.2.7'), '192.0.2.7'],
    ['v2', headerV2('192.0.2.8'), '192.0.2.8'],
    ['v6', headerV2('2001:db8::7'), '2001:db8::7'],
    // Has used up its limit before, by a header of the other version.
    ['again', headerV2('192.0.2.7'), '192.0.2.7'],
  ] as const) {
    await using client = await RawClient.open(port, header)
    expect(client.info.client_ip).toBe(ip)
    await client.connect()
    client.send(`PUB ${subject} 1\r\nx\r\n`.repeat(5))
    await client.flush()
  }
  await subscriber.flush()
  expect(['v1', 'v2', 'v6', 'again'].map(subject => subscriber.count(`MSG ${subject} 1 1`))).toEqual([
    3, 3, 3, 0,
  ])
  expect(door.ips.filter(ip => ip !== undefined)).toEqual([
    '192.0.2.7',
    '192.0.2.8',
    '2001:db8::7',
    '192.0.2.7',
  ])
  // The health check says that it forwards no client.
  expect(door.ips).toContain(undefined)
})
