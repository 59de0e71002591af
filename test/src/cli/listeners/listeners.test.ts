import { connect as connectTcp, type Socket } from 'node:net'
import { connect as connectTls } from 'node:tls'
import mqttPacket from 'mqtt-packet'
import { afterEach, describe, expect, it } from 'vitest'
import {
  type MqttServerOptions,
  type RunningMqttServer,
  startMqttServer,
} from '../../../../src/cli/broker/mqtt-server.ts'
import { TlsCertificates } from '../../../../src/cli/listeners/tls-certificates.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { Gate } from '../../../../src/gate/gate.ts'
import { makeCertificate } from '../../../support/tls.ts'
import { until } from '../../../support/wait.ts'
import { Folder } from '../folder.ts'

let server: RunningMqttServer | undefined
const sockets: Socket[] = []
afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await server?.close(0)
  server = undefined
})

const LOGGER = { debug: () => {}, info: () => {}, warn: () => {}, error: () => {} }

async function start(options: Partial<MqttServerOptions>): Promise<string> {
  using folder = new Folder()
  const { certFile, keyFile, ca } = await makeCertificate(folder.path)
  const files = { certificates: [{ certFile, keyFile }], requireCertificate: false } as const
  server = await startMqttServer({
    gate: new Gate(),
    host: '127.0.0.1',
    port: 0,
    wsPort: 0,
    tlsPort: 0,
    wssPort: 0,
    certificates: await TlsCertificates.open(files, LOGGER),
    ...options,
  })
  return ca
}

function openTcp(port: number | undefined): Socket {
  const socket = connectTcp(port!, '127.0.0.1')
  socket.on('error', () => {})
  sockets.push(socket)
  return socket
}

/** Returns a PROXY header, version 1. */
function proxyHeader(ip: string): string {
  return `PROXY TCP4 ${ip} 127.0.0.1 50000 1883\r\n`
}

function connectPacket(clientId: string): Buffer {
  return mqttPacket.generate({
    cmd: 'connect',
    protocolId: 'MQTT',
    protocolVersion: 4,
    clean: true,
    clientId,
    keepalive: 0,
  })
}

/** Opens a WebSocket over a socket; resolves when it is open. */
async function upgrade(socket: Socket): Promise<void> {
  const lines = [
    'GET / HTTP/1.1',
    'Host: localhost',
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Protocol: mqtt',
  ]
  socket.write(`${lines.join('\r\n')}\r\n\r\n`)
  let answer = ''
  const read = (chunk: Buffer): void => {
    answer += chunk.toString('latin1')
  }
  socket.on('data', read)
  await until(() => answer.includes('\r\n\r\n'))
  socket.off('data', read)
  expect(answer).toMatch(/^HTTP\/1\.1 101/)
}

/** Returns a masked binary frame of at most 125 bytes. */
function frame(payload: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0x82, 0x80 | payload.length, 0, 0, 0, 0]), payload])
}

function refused(reason: string): number | undefined {
  const family = server!.collectMetrics().find(({ name }) => name === 'topicgate_sockets_refused_total')
  return family?.samples.find(({ labels }) => labels.reason === reason)?.value
}

describe('a PROXY header', () => {
  const trusted = { proxyProtocol: true, trustProxy: ['127.0.0.1'] }

  it.each(['tcp', 'ws', 'tls', 'wss'] as const)('names the address of a client over %s', async transport => {
    const ca = await start(trusted)
    const { port, wsPort, tlsPort, wssPort } = server!
    const tcp = openTcp({ tcp: port, ws: wsPort, tls: tlsPort, wss: wssPort }[transport])
    tcp.write(proxyHeader('192.0.2.7'))
    const isEncrypted = transport === 'tls' || transport === 'wss'
    const socket = isEncrypted ? connectTls({ socket: tcp, ca, servername: 'localhost' }) : tcp
    sockets.push(socket)
    const packet = connectPacket('behind')
    if (transport === 'ws' || transport === 'wss') {
      await upgrade(socket)
      socket.write(frame(packet))
    } else socket.write(packet)
    await until(() => server!.limits.senderOf('behind') !== undefined)
    expect(server!.limits.senderOf('behind')).toMatchObject({ client: 'behind', ip: '192.0.2.7' })
  })

  it('may arrive in the same chunk as the first bytes of the handshake', async () => {
    await start(trusted)
    const { wsPort, port } = server!
    const plain = openTcp(port)
    plain.write(Buffer.concat([Buffer.from(proxyHeader('192.0.2.8')), connectPacket('one-chunk')]))
    await until(() => server!.limits.senderOf('one-chunk') !== undefined)
    expect(server!.limits.senderOf('one-chunk')?.ip).toBe('192.0.2.8')
    const socket = openTcp(wsPort)
    const request =
      'GET / HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n' +
      'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n'
    socket.write(proxyHeader('192.0.2.9') + request)
    let answer = ''
    socket.on('data', chunk => {
      answer += chunk.toString('latin1')
    })
    await until(() => answer.startsWith('HTTP/1.1 101'))
  })
})

describe('rules on: accept', () => {
  const policy = {
    version: 1,
    rules: [{ name: 'sockets', on: 'accept', per: 'ip', limit: '2/hour', exceeded: 'drop' }],
  }

  it('close sockets of an address before their TLS handshake', async () => {
    await using gate = await Gate.fromPolicy(policy)
    await start({ gate })
    const opened = [1, 2, 3, 4].map(() => openTcp(server!.tlsPort))
    await until(() => opened.filter(({ closed }) => closed).length === 2)
    expect(refused('accept')).toBe(2)
    expect(gate.stats()).toBeDefined()
  })

  it('count the address of a PROXY header, and let the proxy itself pass', async () => {
    await using gate = await Gate.fromPolicy(policy)
    await start({ gate, proxyProtocol: true, trustProxy: ['127.0.0.1'] })
    const open = (ip: string): Socket => {
      const socket = openTcp(server!.port)
      socket.write(proxyHeader(ip))
      return socket
    }
    const flooding = [1, 2, 3].map(() => open('192.0.2.1'))
    const other = open('192.0.2.2')
    const ofProxy = [1, 2, 3].map(() => {
      const socket = openTcp(server!.port)
      socket.write(connectPacket('health'))
      return socket
    })
    await until(() => flooding.filter(({ closed }) => closed).length === 1)
    expect([other, ...ofProxy].some(({ closed }) => closed)).toBe(false)
  })
})

it('a policy without rules on: accept counts no decisions about sockets, and one that is applied later does', async () => {
  await using gate = new Gate()
  const decisions: string[] = []
  gate.on('decision', (_decision, message) => decisions.push(message.on))
  await start({ gate })
  const first = openTcp(server!.port)
  await until(() => !first.connecting)
  await gate.apply({ rules: [{ name: 'none', on: 'accept', per: 'ip', limit: '1/hour', exceeded: 'drop' }] })
  const [second, third] = [openTcp(server!.port), openTcp(server!.port)]
  await until(() => second.closed || third.closed)
  expect(decisions).toEqual(['accept', 'accept'])
})

it('an address may do a bounded number of TLS handshakes at the same time', async () => {
  const ca = await start({})
  const silent = Array.from({ length: MAX_SIZES.tlsHandshakesPerAddress + 3 }, () => openTcp(server!.tlsPort))
  await until(() => refused('tls_handshakes') === 3)
  for (const socket of silent) socket.destroy()
  // Ended handshakes make room.
  await until(async () => {
    const socket = connectTls({ port: server!.tlsPort!, host: '127.0.0.1', ca })
    sockets.push(socket)
    return new Promise<boolean>(resolve => {
      socket.once('secureConnect', () => resolve(true))
      socket.once('error', () => resolve(false))
      socket.once('close', () => resolve(false))
    })
  })
  expect(refused('tls_handshakes')).toBeLessThan(30)
})
