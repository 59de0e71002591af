import { connectAsync, type MqttClient } from 'mqtt'

const QUIET_DEVICES = 10
const QUIET_EVERY_MS = 200
const FLOOD_PER_SECOND = 1_000
const FLOOD_TICK_MS = 10
/** Maximum unsent messages of the flooder; above it the broker has slowed it down. */
const MAX_FLOOD_IN_FLIGHT = 2_000
const CHECK_MS = 20

/** Messages sent and delivered so far. */
export interface FleetStats {
  readonly devices: number
  readonly sent: number
  readonly delivered: number
  /** Messages of quiet devices that arrived out of order or twice. */
  readonly disordered: number
  readonly floodSent: number
  readonly floodDelivered: number
}

interface Device {
  readonly client: MqttClient
  readonly topic: string
  readonly qos: 0 | 1
  sent: number
  delivered: number
  latest: number
  disordered: number
}

/**
 * MQTT clients of one broker over TCP: quiet devices that send counters, every other one at QoS 1, a flooding device,
 * and a subscriber that checks the messages.
 */
export class DemoFleet {
  readonly #quiet: Device[]
  readonly #flooder: Device
  readonly #subscriber: MqttClient
  readonly #timers: NodeJS.Timeout[] = []
  #floodInFlight = 0

  private constructor(quiet: Device[], flooder: Device, subscriber: MqttClient) {
    this.#quiet = quiet
    this.#flooder = flooder
    this.#subscriber = subscriber
    const byTopic = new Map([...quiet, flooder].map(device => [device.topic, device]))
    subscriber.on('message', (topic, payload) => {
      const device = byTopic.get(topic)
      if (device !== undefined) receive(device, payload.toString())
    })
  }

  /** Connects all clients. Rejects if the broker refuses one. */
  static async connect(port: number): Promise<DemoFleet> {
    const subscriber = await connectClient(port, 'demo-subscriber')
    await subscriber.subscribeAsync('fleet/demo/#', { qos: 1 })
    const quiet: Device[] = []
    for (let place = 1; place <= QUIET_DEVICES; place++) {
      quiet.push(await connectDevice(port, `device-${place}`, place % 2 === 0 ? 1 : 0))
    }
    return new DemoFleet(quiet, await connectDevice(port, 'flooder', 0), subscriber)
  }

  start(): void {
    this.#quiet.forEach((device, place) => {
      // Spread over the interval, as real devices are.
      const startMs = Math.floor((place * QUIET_EVERY_MS) / this.#quiet.length)
      const begin = setTimeout(() => {
        send(device)
        this.#timers.push(setInterval(() => send(device), QUIET_EVERY_MS))
      }, startMs)
      this.#timers.push(begin)
    })
    const beginMs = performance.now()
    this.#timers.push(setInterval(() => this.#flood(performance.now() - beginMs), FLOOD_TICK_MS))
  }

  /** Stops sending and waits, at most `mostMs`, until the last message of the quiet devices has arrived. */
  async stopSending(mostMs: number): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    const endMs = performance.now() + mostMs
    while (this.#quiet.some(device => device.delivered < device.sent) && performance.now() < endMs) {
      await new Promise(resolve => setTimeout(resolve, CHECK_MS))
    }
  }

  async close(): Promise<void> {
    for (const timer of this.#timers) clearInterval(timer)
    const clients = [...this.#quiet, this.#flooder].map(({ client }) => client)
    await Promise.all([...clients, this.#subscriber].map(client => client.endAsync(true)))
  }

  stats(): FleetStats {
    const sum = (part: 'sent' | 'delivered' | 'disordered'): number =>
      this.#quiet.reduce((total, device) => total + device[part], 0)
    return {
      devices: this.#quiet.length,
      sent: sum('sent'),
      delivered: sum('delivered'),
      disordered: sum('disordered'),
      floodSent: this.#flooder.sent,
      floodDelivered: this.#flooder.delivered,
    }
  }

  #flood(sinceMs: number): void {
    const wanted = Math.floor((sinceMs * FLOOD_PER_SECOND) / 1_000)
    while (this.#flooder.sent < wanted && this.#floodInFlight < MAX_FLOOD_IN_FLIGHT) {
      this.#floodInFlight++
      send(this.#flooder, () => this.#floodInFlight--)
    }
  }
}

async function connectDevice(port: number, name: string, qos: 0 | 1): Promise<Device> {
  const client = await connectClient(port, name)
  const topic = `fleet/demo/${name}/telemetry/count`
  return { client, topic, qos, sent: 0, delivered: 0, latest: 0, disordered: 0 }
}

async function connectClient(port: number, clientId: string): Promise<MqttClient> {
  const client = await connectAsync({ host: '127.0.0.1', port, clientId, reconnectPeriod: 0 })
  // A lost connection shows in the missing messages.
  client.on('error', () => {})
  return client
}

function send(device: Device, done?: () => void): void {
  device.sent++
  device.client.publish(device.topic, String(device.sent), { qos: device.qos }, () => done?.())
}

function receive(device: Device, text: string): void {
  const number = Number(text)
  if (number <= device.latest) device.disordered++
  else {
    device.latest = number
    device.delivered++
  }
}
