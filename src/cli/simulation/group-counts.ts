import type { FleetDocument, FleetGroup } from './fleet-format.ts'

/** Counts of a group of devices. */
export interface GroupCount {
  readonly name: string
  readonly devices: number
  connects: number
  /** Published messages. */
  messages: number
  /** Messages that a policy allowed, or that a broker delivered. */
  delivered: number
}

/** Counts of a simulation by group, in the order of the fleet. */
export class GroupCounts {
  readonly #counts: ReadonlyMap<FleetGroup, GroupCount>

  constructor(fleet: FleetDocument['fleet']) {
    this.#counts = new Map(
      fleet.map(group => [
        group,
        { name: group.name, devices: group.count ?? 1, connects: 0, messages: 0, delivered: 0 },
      ]),
    )
  }

  of(group: FleetGroup): GroupCount {
    return this.#counts.get(group)!
  }

  sum(part: 'messages' | 'delivered'): number {
    return this.list().reduce((sum, count) => sum + count[part], 0)
  }

  list(): readonly GroupCount[] {
    return [...this.#counts.values()]
  }
}
