import { readFileSync } from 'node:fs'
import { connect, type MqttClient } from 'mqtt'
import { expect } from 'vitest'
import type { Folder } from '../src/cli/folder.ts'
import { until } from '../support/wait.ts'
import type { DurableBroker } from './durable-broker.ts'
import { type GatewayProcess, startGatewayProcess } from './gateway-process.ts'

const POLICY = `rules:
  - { name: all, per: client, limit: 100000/s }
  - { name: slow, topic: slow/+, per: client, limit: 100/s burst 20, exceeded: throttle }
  - { name: once, on: connect, for: { clients: [once] }, per: client, limit: 1/hour burst 1, exceeded: reject }
`
/** Messages that pass between faults. */
const BETWEEN = 500
/** Long, because the connections of a killed broker end at once. */
const KEEPALIVE_S = 60
/** Most memory that a gateway takes more after the faults than before. */
const GROWTH_BYTES = 100_000_000

/** Messages of one client that wait for their acknowledgement. */
const IN_FLIGHT = 50
/** Messages of one client at a time. */
const PER_TURN = 3
const TURN_MS = 20

interface LoadClientKind {
  readonly version: 4 | 5
  readonly qos: 1 | 2
  /** True if its session survives the connection. */
  readonly isPersistent: boolean
  /** First level of its topic. */
  readonly speed: 'fast' | 'slow'
}

const KINDS = ([4, 5] as const).flatMap(version =>
  ([1, 2] as const).flatMap(qos =>
    [false, true].flatMap(isPersistent =>
      (['fast', 'slow'] as const).map((speed): LoadClientKind => ({ version, qos, isPersistent, speed })),
    ),
  ),
)

/** Line of the file of the broker. Those of messages have a text. */
interface RecordedLine {
  readonly client: string
  readonly text?: string
}

/** Publishes numbers, and reconnects whenever it loses its connection. */
export class LoadClient {
  readonly name: string
  readonly kind: LoadClientKind
  readonly acknowledged: number[] = []
  /** Reason codes of the CONNACKs and DISCONNECTs of MQTT 5. */
  readonly codes = new Set<number>()
  connects = 0
  closes = 0
  readonly #client: MqttClient
  #sent = 0
  #unanswered = 0

  constructor(port: number, name: string, kind: LoadClientKind, keepaliveS: number) {
    this.name = name
    this.kind = kind
    const { version, isPersistent } = kind
    this.#client = connect({
      host: '127.0.0.1',
      port,
      clientId: name,
      protocolVersion: version,
      clean: !isPersistent,
      ...(version === 5 && isPersistent && { properties: { sessionExpiryInterval: 600 } }),
      keepalive: keepaliveS,
      reconnectPeriod: 100,
      // Without it, MQTT.js gives up at the first CONNACK that refuses it.
      reconnectOnConnackError: true,
    })
    this.#client.on('error', () => {})
    this.#client.on('connect', () => void this.connects++)
    this.#client.on('close', () => void this.closes++)
    this.#client.on('packetreceive', packet => {
      if (packet.cmd === 'connack' && version === 5) this.codes.add(packet.reasonCode ?? 0)
      if (packet.cmd === 'disconnect') this.codes.add(packet.reasonCode ?? 0)
    })
  }

  get isIdle(): boolean {
    return this.#unanswered === 0
  }

  /** Publishes some messages, unless too many are unanswered. */
  publishSome(): void {
    const { speed, qos } = this.kind
    for (let count = 0; count < PER_TURN && this.#unanswered < IN_FLIGHT; count++) {
      const number = this.#sent++
      this.#unanswered++
      const publishing = this.#client.publishAsync(`${speed}/${this.name}`, String(number), { qos })
      // MQTT.js rejects some that it does not send again after a lost connection.
      const settle = publishing.then(
        () => void this.acknowledged.push(number),
        () => {},
      )
      void settle.then(() => void this.#unanswered--)
    }
  }

  async end(): Promise<void> {
    await this.#client.endAsync(true)
  }
}

/** Clients of all kinds that publish through a gateway. */
export class BrokerCrashLoad {
  readonly clients: readonly LoadClient[]
  readonly #timer: NodeJS.Timeout

  constructor(port: number, keepaliveS: number) {
    this.clients = KINDS.map(kind => {
      const { version, qos, isPersistent, speed } = kind
      const name = `v${version}-q${qos}-${isPersistent ? 'session' : 'clean'}-${speed}`
      return new LoadClient(port, name, kind, keepaliveS)
    })
    this.#timer = setInterval(() => {
      for (const client of this.clients) client.publishSome()
    }, TURN_MS)
  }

  get acknowledged(): number {
    return this.clients.reduce((sum, client) => sum + client.acknowledged.length, 0)
  }

  /** Codes of each client of MQTT 5. */
  get codes(): readonly ReadonlySet<number>[] {
    return this.clients.filter(({ kind }) => kind.version === 5).map(({ codes }) => codes)
  }

  /** Runs a fault until each client has lost its connection. */
  async during(fault: () => void | Promise<void>): Promise<void> {
    const before = this.clients.map(({ closes }) => closes)
    await fault()
    await until(() => this.clients.every(({ closes }, index) => closes > before[index]!), {
      what: 'the end of all connections',
    })
  }

  /** Waits until each client is connected again, and more messages are acknowledged. */
  async goOn(): Promise<void> {
    const before = this.clients.map(({ connects }) => connects)
    const acknowledged = this.acknowledged + BETWEEN
    const isOn = (): boolean =>
      this.acknowledged >= acknowledged &&
      this.clients.every(({ connects }, index) => connects > before[index]!)
    await until(isOn, { what: () => `${acknowledged} acknowledged messages, not ${this.acknowledged}` })
  }

  /** Waits for the acknowledgements of all messages. */
  async finish(): Promise<void> {
    clearInterval(this.#timer)
    await until(() => this.clients.every(({ isIdle }) => isIdle), {
      what: () => `clients: ${this.clients.filter(({ isIdle }) => !isIdle).map(({ name }) => name)}`,
    })
  }

  async end(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all(this.clients.map(client => client.end()))
  }

  /**
   * Expects that the file of the broker has all acknowledged messages, in the order in which their client sent them; those of
   * QoS 2 of a persistent session once.
   */
  expectRecorded(file: string): void {
    const recorded = new Map(this.clients.map(({ name }): [string, number[]] => [name, []]))
    for (const line of readFileSync(file, 'utf8').trimEnd().split('\n')) {
      const { client, text } = JSON.parse(line) as RecordedLine
      if (text !== undefined) recorded.get(client)!.push(Number(text))
    }
    for (const { name, kind, acknowledged } of this.clients) {
      const numbers = recorded.get(name)!
      const once = [...new Set(numbers)]
      const known = new Set(once)
      expect(
        acknowledged.filter(number => !known.has(number)),
        `lost of ${name}`,
      ).toEqual([])
      expect(once, `order of ${name}`).toEqual(once.toSorted((a, b) => a - b))
      if (kind.qos === 2 && kind.isPersistent) expect(numbers, `repeated of ${name}`).toEqual(once)
    }
  }
}

/** Starts a gateway in front of a port. */
export function startLoadGateway(folder: Folder, brokerPort: number): Promise<GatewayProcess> {
  return startGatewayProcess(folder, POLICY, `mqtt://127.0.0.1:${brokerPort}`)
}

/** Kills a broker under load again and again. Expects that nothing is lost, and that clients learn why they are disconnected. */
export async function expectNothingLostByKills(
  folder: Folder,
  broker: DurableBroker,
  kills: number,
): Promise<void> {
  await using gateway = await startLoadGateway(folder, broker.port)
  const { pid, port } = gateway
  const load = new BrokerCrashLoad(port, KEEPALIVE_S)
  const once = new LoadClient(
    port,
    'once',
    { version: 5, qos: 1, isPersistent: false, speed: 'fast' },
    KEEPALIVE_S,
  )
  try {
    await load.goOn()
    const bytesBefore = readRssBytes(pid)
    for (let count = 0; count < kills; count++) {
      await load.during(() => broker.kill())
      await until(() => load.codes.every(codes => codes.has(0x88)))
      await broker.startAgain()
      await load.goOn()
    }
    await load.finish()
    load.expectRecorded(broker.file)
    expect(readRssBytes(pid) - bytesBefore).toBeLessThan(GROWTH_BYTES)
    for (const codes of load.codes) expect(codes).toEqual(new Set([0, 0x8b, 0x88]))
    await until(() => once.codes.has(0x9f))
    expect(once.codes).toEqual(new Set([0, 0x8b, 0x9f]))
  } finally {
    await Promise.all([load.end(), once.end()])
  }
}

function readRssBytes(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))![1]) * 1_024
}
