import { randomBytes } from 'node:crypto'
import { setTimeout as sleep } from 'node:timers/promises'
import { formatCount } from '../format.ts'
import type { ProgressLine } from '../progress-line.ts'
import { TerminationSignalWaiter } from '../termination-signal-waiter.ts'
import type { CaptureWriter } from './capture-writer.ts'
import { type DeviceConnection, type FleetBroker, type OpenBroker, parseBrokerUrl } from './fleet-broker.ts'
import type { FleetDocument, FleetGroup } from './fleet-format.ts'
import { GroupCounts } from './group-counts.ts'
import type { SimulatedDevice } from './simulated-device.ts'
import { DEFAULT_START_MS, type FleetEvent, SimulatedFleet } from './simulated-fleet.ts'

/** The end waits until nothing is delivered for this time, but no longer than the other. */
const QUIET_MS = 2_000
const MAX_WAIT_MS = 30_000
const CHECK_MS = 50

/**
 * Runs a fleet in real time against a broker, with a client for each device, and counts what a subscriber receives. Ends
 * early at SIGINT or SIGTERM. Rejects with CommandError if the broker is not available.
 */
export async function runOnBroker(
  document: FleetDocument,
  url: string,
  capture: CaptureWriter | undefined,
  progress: ProgressLine,
): Promise<GroupCounts> {
  const address = parseBrokerUrl(url)
  const groups = new GroupCounts(document.fleet)
  const payloads = new FleetPayloads(document.fleet)
  const topics = document.fleet.flatMap(({ topic }) => topic ?? [])
  const filters = [...new Set(topics.map(topic => filterOf(topic, address.protocol)))]
  let deliveredAtMs = performance.now()
  const open = await loadBroker(address.protocol)
  const broker = await open(address, filters, payload => {
    const group = payloads.groupOf(payload)
    if (group === undefined) return
    groups.of(group).delivered++
    deliveredAtMs = performance.now()
  })
  const stop = new TerminationSignalWaiter()
  const devices = new BrokerDevices(broker, payloads)
  try {
    await runInRealTime(document, stop, async event => {
      devices.act(event)
      const count = groups.of(event.device.group)
      if (event.action === 'connect') count.connects++
      if (event.action === 'publish') count.messages++
      if (capture?.record(event, Date.now())) await capture.flush()
      progress.show(
        () =>
          `${formatCount(groups.sum('messages'))} sent, ${formatCount(groups.sum('delivered'))} delivered`,
      )
    })
    const endMs = performance.now() + MAX_WAIT_MS
    deliveredAtMs = performance.now()
    while (
      groups.sum('delivered') < groups.sum('messages') &&
      performance.now() < Math.min(endMs, deliveredAtMs + QUIET_MS)
    ) {
      await sleep(CHECK_MS)
    }
  } finally {
    stop.release()
    devices.close()
    await broker.close()
  }
  return groups
}

async function loadBroker(protocol: string): Promise<OpenBroker> {
  return protocol === 'nats:'
    ? (await import('./nats-fleet-broker.ts')).openNatsBroker
    : (await import('./mqtt-fleet-broker.ts')).openMqttBroker
}

/** Calls `act` for each event at its time, from now on. Events that are late follow at once. */
async function runInRealTime(
  document: FleetDocument,
  stop: TerminationSignalWaiter,
  act: (event: FleetEvent) => Promise<void>,
): Promise<void> {
  const fleet = new SimulatedFleet(document)
  const beginMs = performance.now() - (document.start ?? DEFAULT_START_MS)
  let isStopped = false
  const stopped = stop.received.then(() => {
    isStopped = true
  })
  for (let event = fleet.next(); event !== undefined && !isStopped; event = fleet.next()) {
    const waitMs = beginMs + event.atMs - performance.now()
    if (waitMs >= 1) {
      const abort = new AbortController()
      await Promise.race([sleep(waitMs, undefined, { signal: abort.signal }).catch(() => {}), stopped])
      abort.abort()
      if (isStopped) return
    }
    await act(event)
  }
}

/** Connections of the devices that are online. */
class BrokerDevices {
  readonly #broker: FleetBroker
  readonly #payloads: FleetPayloads
  readonly #connections = new Map<SimulatedDevice, DeviceConnection>()

  constructor(broker: FleetBroker, payloads: FleetPayloads) {
    this.#broker = broker
    this.#payloads = payloads
  }

  act({ action, device }: FleetEvent): void {
    if (action === 'connect') {
      this.#connections.get(device)?.close()
      this.#connections.set(device, this.#broker.connect(device.sender))
    } else if (action === 'disconnect') {
      this.#connections.get(device)?.close()
      this.#connections.delete(device)
    } else {
      const { qos = 0, retain = false } = device.group
      const payload = this.#payloads.create(device.group, device.size)
      this.#connections.get(device)?.publish({ topic: device.topic, payload, qos, retain })
    }
  }

  close(): void {
    for (const connection of this.#connections.values()) connection.destroy()
  }
}

/** Payloads that name the run and the group, so that messages of others on the broker are not counted. */
class FleetPayloads {
  readonly #run = randomBytes(3).toString('hex')
  readonly #marks: ReadonlyMap<FleetGroup, string>
  readonly #groups: ReadonlyMap<string, FleetGroup>

  constructor(fleet: readonly FleetGroup[]) {
    this.#marks = new Map(fleet.map((group, index) => [group, `${this.#run}:${index};`]))
    this.#groups = new Map([...this.#marks].map(([group, mark]) => [mark, group]))
  }

  /** Returns a payload of a size, or longer if the mark does not fit. */
  create(group: FleetGroup, size: number): Buffer {
    return Buffer.from(this.#marks.get(group)!.padEnd(size, '.'))
  }

  groupOf(payload: Uint8Array): FleetGroup | undefined {
    const text = Buffer.from(payload.buffer, payload.byteOffset, Math.min(payload.length, 16)).toString(
      'latin1',
    )
    return this.#groups.get(text.slice(0, text.indexOf(';') + 1))
  }
}

/** Returns the filter of all topics of a group. */
function filterOf(topic: string, protocol: string): string {
  const [separator, one] = protocol === 'nats:' ? ['.', '*'] : ['/', '+']
  return topic
    .split(separator)
    .map(level => (level.includes('{') ? one : level))
    .join(separator)
}
