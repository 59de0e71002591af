import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { mqttGateway } from '../brokers/mqtt-gateway/index.ts'
import { natsGateway } from '../brokers/nats-gateway/index.ts'
import { Gate, limit } from '../src/index.ts'
import { startHaproxy } from './haproxy.ts'
import { makeGate, RATES } from './load.ts'
import { readCpuNs } from './process-figures.ts'

export type GatewayProtocol = 'mqtt' | 'nats'

/** `walk` is a gateway without rules, `one` and `limits` have one and three rules that let all pass. */
export type GatewaySubject = 'pipe' | 'haproxy' | 'walk' | 'one' | 'limits' | 'refusing'

/** A proxy or gateway that serves clients. */
export interface ServedSubject {
  readonly port: number
  /** Its process; undefined if it is this one. */
  readonly pid: number | undefined
  /** User and system time of its process, in nanoseconds. */
  readCpuNs(): number
  close(): void
}

/** Starts a subject in front of a broker: HAProxy in a process of its own, others in this one. */
export async function serveSubject(
  protocol: GatewayProtocol,
  subject: GatewaySubject,
  brokerPort: number,
): Promise<ServedSubject> {
  if (subject === 'haproxy') {
    const { pid, port, close } = await startHaproxy(brokerPort)
    return { pid, port, readCpuNs: () => readCpuNs([pid]), close }
  }
  const server = createServer({ noDelay: true }, makeHandler(protocol, subject, brokerPort))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    pid: undefined,
    port: (server.address() as AddressInfo).port,
    readCpuNs: () => {
      const { user, system } = process.cpuUsage()
      return (user + system) * 1_000
    },
    close: () => void server.close(),
  }
}

function makeHandler(
  protocol: GatewayProtocol,
  subject: Exclude<GatewaySubject, 'haproxy'>,
  brokerPort: number,
): (socket: Socket) => void {
  const open = (): Socket => connect({ port: brokerPort, host: '127.0.0.1', noDelay: true })
  if (subject === 'pipe') {
    return socket => {
      socket.pipe(open()).pipe(socket)
    }
  }
  const createGateway = protocol === 'mqtt' ? mqttGateway : natsGateway
  const gateway = createGateway(createGate(protocol, subject), {
    connectUpstream: async () => {
      const socket = open()
      await once(socket, 'connect')
      return socket
    },
  })
  return socket => gateway.handle(socket, { ip: '127.0.0.1', port: socket.remotePort })
}

function createGate(protocol: GatewayProtocol, subject: 'walk' | 'one' | 'limits' | 'refusing'): Gate {
  if (subject === 'walk') return new Gate({ dialect: protocol })
  const rules = subject === 'one' ? 1 : 3
  const outcome = subject === 'refusing' ? 'refused' : 'allowed'
  return protocol === 'mqtt' ? makeGate(rules, outcome) : makeNatsGate(rules, outcome)
}

/** A gate with as many rules on one subject pattern, with a rate so that all or none pass. */
function makeNatsGate(rules: 1 | 3, outcome: keyof typeof RATES): Gate {
  const rate = RATES[outcome]
  const all = [
    limit({ name: 'by-client', rate, per: 'client', exceeded: 'drop' }),
    limit({ name: 'by-user', rate, per: 'user', exceeded: 'drop' }),
    limit({ name: 'by-client-and-topic', rate, per: ['client', 'topic'], exceeded: 'drop' }),
  ]
  return new Gate({ dialect: 'nats' }).use('fleet.{site}.{device}.telemetry.>', ...all.slice(0, rules))
}
