import { packageFile } from '../../core/package-files.ts'
import type { FleetGroup } from '../simulation/fleet-format.ts'
import { LiveFleet } from '../simulation/live-fleet.ts'
import { loadFleet } from '../simulation/load-fleet.ts'
import type { Terminal } from '../terminal/terminal.ts'

/** Name of the group that floods. */
const FLOODER = 'flooder'

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

/** MQTT clients of one broker: quiet devices that send counters, a flooding device, and a subscriber that checks the messages. */
export class DemoFleet {
  readonly #fleet: LiveFleet
  readonly #quiet: readonly FleetGroup[]
  readonly #flooder: FleetGroup

  private constructor(fleet: LiveFleet, groups: readonly FleetGroup[]) {
    this.#fleet = fleet
    this.#quiet = groups.filter(({ name }) => name !== FLOODER)
    this.#flooder = groups.find(({ name }) => name === FLOODER)!
  }

  /** Connects the subscriber. Rejects with CommandError if the broker refuses it. */
  static async connect(port: number, forMs: number, env: Terminal['env']): Promise<DemoFleet> {
    const document = await loadFleet(packageFile('config/fleets/demo.yaml'), env)
    const url = new URL(`mqtt://127.0.0.1:${port}`)
    return new DemoFleet(await LiveFleet.open({ ...document, for: forMs }, url), document.fleet)
  }

  /** Sends until the time is over or `stopped` resolves, then waits, at most `mostMs`, for the messages of the quiet devices. */
  async run(stopped: Promise<unknown>, mostMs: number): Promise<void> {
    await this.#fleet.run(stopped, async () => {})
    await this.#fleet.awaitDeliveries({ groups: this.#quiet, quietMs: mostMs, maxMs: mostMs })
  }

  close(): Promise<void> {
    return this.#fleet.close()
  }

  stats(): FleetStats {
    const { counts } = this.#fleet
    const quiet = this.#quiet.map(group => counts.of(group))
    const sum = (part: 'devices' | 'messages' | 'delivered' | 'disordered'): number =>
      quiet.reduce((total, count) => total + count[part], 0)
    const flooder = counts.of(this.#flooder)
    return {
      devices: sum('devices'),
      sent: sum('messages'),
      delivered: sum('delivered') - sum('disordered'),
      disordered: sum('disordered'),
      floodSent: flooder.messages,
      floodDelivered: flooder.delivered,
    }
  }
}
