import { describe, expect, it } from 'vitest'
import type { FleetGroup } from '../../../../src/cli/simulation/fleet-format.ts'
import { type PublishedMessage, SimulatedDevice } from '../../../../src/cli/simulation/simulated-device.ts'
import { SimulatedFleet } from '../../../../src/cli/simulation/simulated-fleet.ts'

const GROUP: FleetGroup = { name: 'g', topic: 'a/{client}', send: { every: 10_000 } }

/** All actions of a device, as times and names. */
function actionsOf(group: FleetGroup, endMs: number): readonly (readonly [atMs: number, action: string])[] {
  const device = new SimulatedDevice(group, 1, 7, { startMs: 0, endMs })
  const actions: [number, string][] = []
  while (device.nextAtMs !== Infinity) {
    actions.push([device.nextAtMs, device.nextAction])
    device.advance()
  }
  return actions
}

function publishTimes(group: FleetGroup, endMs: number): readonly number[] {
  return actionsOf(group, endMs).flatMap(([atMs, action]) => (action === 'publish' ? [atMs] : []))
}

describe('a simulated device', () => {
  it('sends at its interval, from a time within the first one', () => {
    const times = publishTimes(GROUP, 60_000)
    expect(times[0]).toBeLessThan(10_000)
    expect(times).toEqual(times.map((_, nth) => times[0]! + nth * 10_000))
    expect(times).toHaveLength(6)
  })

  it('sends what it kept after an outage, and new messages behind it', () => {
    const group: FleetGroup = {
      ...GROUP,
      faults: [{ at: 20_000, disconnect: 30_000, flushEvery: 6_000 }],
    }
    const actions = actionsOf(group, 90_000).filter(([atMs]) => atMs >= 20_000)
    const regular = publishTimes(GROUP, 90_000)
    expect(actions.slice(0, 5)).toEqual([
      [20_000, 'disconnect'],
      [50_000, 'connect'],
      [50_000, 'publish'],
      [56_000, 'publish'],
      [62_000, 'publish'],
    ])
    // None is lost, and the row is regular again at the end.
    expect(publishTimes(group, 90_000)).toHaveLength(regular.length)
    expect(actions.at(-1)![0]).toBe(regular.at(-1))
  })

  it('forgets the messages of an outage if the fault says so', () => {
    const group: FleetGroup = { ...GROUP, faults: [{ at: 20_000, disconnect: 30_000, then: 'forget' }] }
    const regular = publishTimes(GROUP, 90_000)
    expect(publishTimes(group, 90_000)).toEqual(regular.filter(atMs => atMs < 20_000 || atMs >= 50_000))
  })

  it('connects again and again, except during an outage', () => {
    const connects = { every: 10_000 }
    const faults = [{ at: 25_000, disconnect: 22_000 }]
    const actions = actionsOf({ name: 'g', connects, faults }, 80_000)
    const firstMs = actions[0]![0]
    expect(firstMs).toBeLessThan(10_000)
    expect(actions).toEqual([
      ...[0, 10_000, 20_000].filter(ms => firstMs + ms < 25_000).map(ms => [firstMs + ms, 'connect']),
      [25_000, 'disconnect'],
      ...[47_000, 57_000, 67_000, 77_000].map(ms => [ms, 'connect']),
    ])
  })

  it('is slow to connect, and never does if another connection replaces it before', () => {
    const faults = [{ at: 14_000, disconnect: 6_000 }]
    const group: FleetGroup = { name: 'g', connects: { every: 10_000, slow: 5_000 }, faults }
    const actions = actionsOf(group, 42_000)
    expect(actions[0]![1]).toBe('open')
    // The fault ends a CONNECT that has not been sent.
    expect(actions.filter(([atMs]) => atMs >= 14_000)).toEqual([
      [14_000, 'disconnect'],
      [20_000, 'open'],
      [25_000, 'connect'],
      [30_000, 'open'],
      [35_000, 'connect'],
      [40_000, 'open'],
    ])
    const replaced = actionsOf({ name: 'g', connects: { every: 10_000, slow: 10_000 } }, 100_000)
    expect(replaced.map(([, action]) => action)).toEqual(Array(10).fill('open'))
  })

  it('sends its messages while it connects again and again', () => {
    const group = { ...GROUP, drift: 0.1, connects: { every: 3 } }
    expect(publishTimes(group, 60_000)).toEqual(publishTimes({ ...GROUP, drift: 0.1 }, 60_000))
    const connects = actionsOf(group, 60_000).filter(([, action]) => action === 'connect')
    expect(connects.length / 20_000).toBeGreaterThan(0.8)
    expect(connects.length / 20_000).toBeLessThan(1.2)
  })

  it('repeats a share of its messages at once, with the same topic and size', () => {
    const group: FleetGroup = {
      ...GROUP,
      topic: 'a/{topic}',
      topics: 7,
      size: { least: 1, most: 1_000 },
      duplicate: 0.25,
    }
    const device = new SimulatedDevice(group, 1, 7, { startMs: 0, endMs: 100_000_000 })
    const sent: string[] = []
    while (device.nextAtMs !== Infinity) {
      const { nextAtMs, nextAction } = device
      device.advance()
      if (nextAction === 'publish') sent.push(`${nextAtMs} ${device.message.topic} ${device.message.size}`)
    }
    const repeated = sent.filter((each, nth) => each === sent[nth - 1]).length
    expect(sent.length - repeated).toBe(10_000)
    expect(repeated / 10_000).toBeCloseTo(0.25, 1)
  })

  it('sends its latest messages again after each connect if it ignores acknowledgements', () => {
    const group: FleetGroup = {
      ...GROUP,
      topic: 'a/{topic}',
      topics: 3,
      qos: 1,
      size: { least: 1, most: 1_000 },
      ignores: ['puback'],
      faults: [
        { at: 35_000, disconnect: 1_000 },
        { at: 2_000_000, disconnect: 1_000 },
      ],
    }
    const device = new SimulatedDevice(group, 1, 7, { startMs: 0, endMs: 2_005_000 })
    const sent: { readonly isRedelivered: boolean; readonly message: PublishedMessage }[][] = []
    while (device.nextAtMs !== Infinity) {
      const { nextAction } = device
      device.advance()
      const { message, isRedelivered } = device
      if (nextAction === 'connect') sent.push([])
      if (nextAction === 'publish') sent.at(-1)!.push({ message, isRedelivered })
    }
    const [first, second, third] = sent.map(row => row.map(({ message }) => message))
    expect(first!.map(({ number }) => number)).toEqual([1, 2, 3, 4])
    expect(second!.slice(0, 5).map(({ number }) => number)).toEqual([1, 2, 3, 4, 5])
    expect(second!.slice(0, 4)).toEqual(first)
    expect(sent[1]!.map(({ isRedelivered }) => isRedelivered).slice(0, 6)).toEqual([
      ...[true, true, true, true],
      ...[false, false],
    ])
    // No more than the latest hundred.
    expect(third!.slice(0, 100)).toEqual(second!.slice(-100))
    expect(sent[2]!.filter(({ isRedelivered }) => isRedelivered)).toHaveLength(100)
  })

  describe('whose connection is ended by the other side', () => {
    /** Ends the first connection at 25 s. Returns later actions, and whether the connection was lost. */
    function actionsAfterLoss(group: FleetGroup): readonly (readonly [number, string, boolean])[] {
      const device = new SimulatedDevice(group, 1, 7, { startMs: 0, endMs: 50_000 })
      while (device.nextAtMs < 25_000) device.advance()
      device.loseConnection(25_000)
      const actions: [number, string, boolean][] = []
      while (device.nextAtMs !== Infinity) {
        const { nextAtMs, nextAction } = device
        device.advance()
        actions.push([nextAtMs, nextAction, device.hasLostConnection])
      }
      return actions
    }
    it('does not connect, if its CONNECT was not sent yet', () => {
      const group: FleetGroup = { name: 'g', connects: { every: 100_000, slow: 50_000 } }
      const device = new SimulatedDevice(group, 1, 7, { startMs: 0, endMs: 500_000 })
      const firstMs = device.nextAtMs
      device.advance()
      device.loseConnection(firstMs + 10_000)
      expect([device.nextAtMs, device.nextAction]).toEqual([firstMs + 100_000, 'open'])
    })

    const dueMs = publishTimes(GROUP, 50_000).filter(atMs => atMs > 25_000)

    it('stays away, and loses what it sends', () => {
      expect(actionsAfterLoss(GROUP)).toEqual(dueMs.map(atMs => [atMs, 'publish', true]))
    })

    it('connects again when a fault is over', () => {
      const group: FleetGroup = { ...GROUP, faults: [{ at: 30_000, disconnect: 1_000, then: 'forget' }] }
      const actions = actionsAfterLoss(group)
      expect(actions).toContainEqual([31_000, 'connect', false])
      expect(actions.at(-1)).toEqual([dueMs.at(-1), 'publish', false])
    })

    it('connects again at its next time if it connects again and again', () => {
      const [connectMs] = actionsOf({ ...GROUP, connects: { every: 10_000 } }, 50_000)[0]!
      const [first] = actionsAfterLoss({ ...GROUP, connects: { every: 10_000 } })
      expect(first).toEqual([connectMs + Math.ceil((25_000 - connectMs) / 10_000) * 10_000, 'connect', false])
    })

    it('connects again at once if it ignores that', () => {
      expect(actionsAfterLoss({ ...GROUP, ignores: ['disconnect'] })).toEqual([
        [25_100, 'connect', false],
        ...dueMs.map(atMs => [atMs, 'publish', false]),
      ])
    })
  })

  it('has a clock that drifts', () => {
    const slow = publishTimes({ ...GROUP, drift: 0.1 }, 10_000_000)
    const pace = (slow.at(-1)! - slow[0]!) / (slow.length - 1) / 10_000
    expect(Math.abs(pace - 1)).toBeGreaterThan(0.001)
    expect(Math.abs(pace - 1)).toBeLessThanOrEqual(0.1)
  })

  it('sends at random times at the given rate', () => {
    expect(publishTimes({ ...GROUP, send: { poisson: 0.002 } }, 5_000_000).length / 10_000).toBeCloseTo(1, 1)
  })

  it('sends most at the peak of the day', () => {
    const diurnal = { low: 0.0001, high: 0.002, peak: 17 * 3_600_000 }
    const times = publishTimes({ ...GROUP, send: { diurnal } }, 86_400_000)
    const inHour = (hour: number): number =>
      times.filter(atMs => Math.floor(atMs / 3_600_000) === hour).length
    expect(inHour(17) / 7_200).toBeCloseTo(1, 1)
    expect(inHour(5) / 360).toBeCloseTo(1, 0)
  })
})

describe('a simulated fleet', () => {
  it('yields the events of all devices in the order of time', () => {
    const fleet = new SimulatedFleet({
      for: 60_000,
      fleet: [
        { ...GROUP, count: 100 },
        { ...GROUP, name: 'h', count: 7 },
      ],
    })
    const times: number[] = []
    for (let event = fleet.next(); event !== undefined; event = fleet.next()) times.push(event.atMs)
    expect(times).toHaveLength(107 + 107 * 6)
    expect(times).toEqual(times.toSorted((a, b) => a - b))
  })

  it('keeps the order of time when devices lose their connections', () => {
    const fleet = new SimulatedFleet({
      for: 60_000,
      fleet: [{ ...GROUP, count: 100, ignores: ['disconnect'] }],
    })
    const { devices } = fleet
    const seen: string[] = []
    let lastMs = 0
    for (let event = fleet.next(); event !== undefined; event = fleet.next()) {
      expect(event.atMs).toBeGreaterThanOrEqual(lastMs)
      lastMs = event.atMs
      seen.push(`${event.action} ${event.device.sender.client}`)
      // Another one than that of the event, which may come before or after it.
      const other = devices[(seen.length * 37) % devices.length]!
      if (seen.length % 3 === 0 && other.message.number > 0) fleet.loseConnection(other, lastMs)
    }
    expect(seen.filter(each => each.startsWith('publish'))).toHaveLength(600)
    expect(seen.filter(each => each.startsWith('connect')).length).toBeGreaterThan(200)
  })

  it('does what it did if another group is added behind', () => {
    const events = (fleet: readonly FleetGroup[]): readonly string[] => {
      const simulated = new SimulatedFleet({ for: 60_000, fleet: [...fleet] })
      const seen: string[] = []
      for (let event = simulated.next(); event !== undefined; event = simulated.next()) {
        seen.push(`${event.atMs} ${event.action} ${event.device.sender.client}`)
      }
      return seen
    }
    const alone = events([{ ...GROUP, count: 5 }])
    const together = events([
      { ...GROUP, count: 5 },
      { ...GROUP, name: 'h' },
    ])
    expect(together.filter(each => each.includes(' g-'))).toEqual(alone)
  })
})
