import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { openStore, type Store } from '../../src/index.ts'
import { FALLBACKS, type Fallback } from '../../src/stores/store.ts'
import { ROOT } from '../support/built.ts'
import { type NatsServer, startNats } from '../support/nats.ts'
import { until } from '../support/wait.ts'
import { DOORS, type Door, openDoor } from './store-fault-doors.ts'
import { SCENARIOS, type Scenario, type Scene } from './store-fault-scenarios.ts'

// A core set in every run, all with TOPICGATE_LONG=1, as `npm run test:long` sets it. After a deliberate change of what
// passes: TOPICGATE_LONG=1 TOPICGATE_TABLES=write npx vitest run --project more store-fault-matrix

const isLong = process.env.TOPICGATE_LONG === '1'
const scenarios = SCENARIOS.filter(({ core }) => isLong || core === true)

const TIMEOUT_MS = 500
const BACK_MS = 5_000
/** What a busy machine may add to both. */
const SLACK_MS = 5_000
const SENT = 20
/** Of 20 messages of one topic at 10 a day. */
const ADMITTED: Readonly<Record<Fallback, number>> = { memory: 10, degraded: 5, allow: 20, deny: 0 }

let nats: NatsServer
const seen = new Map<string, Set<number>>()
beforeAll(async () => {
  nats = await startNats()
})
afterAll(() => nats.stop())

interface Cell {
  readonly id: number
  readonly fallback: Fallback
  readonly door: Door
  readonly store: Store
  readonly name: string
}

/** A store for each fallback, and all doors on each of them. */
async function openCells({ url }: Scene, kind: Scenario['store']): Promise<Cell[]> {
  const cells = FALLBACKS.map(async (fallback, index) => {
    const shared = kind === 'SQLite' ? {} : ({ prefix: `p${index}`, lease: 'none' } as const)
    const store = await openStore({ url, fallback, timeoutMs: TIMEOUT_MS, ...shared })
    const doors = DOORS.map(async (door, place) => {
      const id = index * DOORS.length + place
      return {
        id,
        fallback,
        store,
        door: await openDoor(door, store, nats.url),
        name: `${door}, ${fallback}`,
      }
    })
    return Promise.all(doors)
  })
  return (await Promise.all(cells)).flat()
}

/** Waits until the store decides; each try has a topic of its own, so that none meets its limit. */
async function untilBack({ id, door, name }: Cell, word: string): Promise<void> {
  let tries = 0
  const isBack = async (): Promise<boolean> => {
    const { decisions } = await door.send(`${word}-${id}-${tries++}`, 1)
    return decisions[0]!.fallback === undefined
  }
  await until(isBack, {
    ...{ timeoutMs: BACK_MS + SLACK_MS, everyMs: 200, what: `the store to decide again: ${name}` },
  })
}

function record({ store, fault }: Scenario, fallback: Fallback, count: number): void {
  const key = `${store} ${fault} ${fallback}`
  seen.set(key, (seen.get(key) ?? new Set()).add(count))
}

/** While the store cannot decide, the fallback does. */
async function endure(scenario: Scenario, cell: Cell): Promise<void> {
  const { decisions, delivered, tookMs } = await cell.door.send(`during-${cell.id}`, SENT)
  expect(decisions, cell.name).toHaveLength(SENT)
  expect(decisions.filter(({ fallback }) => fallback === true).length, `${cell.name}: marked`).toBe(SENT)
  expect(delivered, cell.name).toBe(ADMITTED[cell.fallback])
  expect(tookMs, cell.name).toBeLessThan(TIMEOUT_MS + SLACK_MS)
  record(scenario, cell.fallback, delivered)
  let detail = ''
  const namesCause = async (): Promise<boolean> => {
    detail = (await cell.store.health()).detail ?? ''
    return scenario.names?.test(detail) === true
  }
  await until(namesCause, { everyMs: 100, what: () => `${cell.name}: the cause, which is "${detail}"` })
}

/** A store that lost its counts decides on: what passed before may pass once more. */
async function beginAfresh(scenario: Scenario, cell: Cell): Promise<void> {
  await untilBack(cell, 'again')
  let delivered = 0
  // On a busy machine calls may be late, and the fallback decides until the store does again. It may have charged those that
  // took their time.
  let late = 0
  let maybeCharged = 0
  for (let decided = 0; decided < SENT; ) {
    const sent = await cell.door.send(`used-${cell.id}`, 1)
    if (sent.decisions[0]!.fallback !== true) {
      decided++
      delivered += sent.delivered
      continue
    }
    if (sent.tookMs >= TIMEOUT_MS / 2) maybeCharged++
    await untilBack(cell, `late-${late++}`)
  }
  expect(delivered, cell.name).toBeLessThanOrEqual(10)
  expect(delivered + maybeCharged, cell.name).toBeGreaterThanOrEqual(10)
  if (maybeCharged === 0) record(scenario, cell.fallback, delivered)
}

async function run(scenario: Scenario): Promise<void> {
  const scene = await scenario.open()
  const cells = await openCells(scene, scenario.store)
  const forAll = (work: (cell: Cell) => Promise<unknown>): Promise<unknown> => Promise.all(cells.map(work))
  try {
    await forAll(cell => untilBack(cell, 'before'))
    if (scenario.names === undefined) await forAll(({ door, id }) => door.send(`used-${id}`, 10))
    await scene.cause()
    // A file is looked at every second.
    if (scenario.store === 'SQLite') await new Promise(resolve => setTimeout(resolve, 1_500))
    if (scenario.names === undefined) await forAll(cell => beginAfresh(scenario, cell))
    else await forAll(cell => endure(scenario, cell))
    await scene.end()
    await forAll(cell => untilBack(cell, 'after'))
  } finally {
    await forAll(({ door }) => door.close().catch(() => {}))
    await Promise.all([...new Set(cells.map(({ store }) => store))].map(store => store.close()))
    await scene.stop()
  }
}

const TITLE = 'is decided for in time, marked, never over the limit of the fallback, and decides again: %s'
const named = scenarios.map(scenario => [`${scenario.store}: ${scenario.fault}`, scenario] as const)

describe('a store behind a network that fails', () => {
  const own = named.filter(([, { store }]) => store !== 'SQLite')
  it.concurrent.each(own)(TITLE, async (_, scenario) => run(scenario))
})

// A try for the lock of a file blocks for a moment, which all other cells would notice.
describe('a file that fails', () => {
  it.each(named.filter(([, { store }]) => store === 'SQLite'))(TITLE, async (_, scenario) => run(scenario))
})

describe('the table of faults', () => {
  it('stands in docs/stores.md as it was seen', () => {
    const rows = scenarios.map(({ store, fault, cause = 'none: the store decides, with new counts' }) => {
      const counts = FALLBACKS.map(fallback =>
        [...(seen.get(`${store} ${fault} ${fallback}`) ?? [])].join(' or '),
      )
      return `| ${store} | ${fault} | ${counts.join(' | ')} | ${cause} |`
    })
    const page = join(ROOT, 'docs/stores.md')
    const text = readFileSync(page, 'utf8')
    if (process.env.TOPICGATE_TABLES !== 'write') {
      for (const row of rows) expect(text).toContain(row)
      return
    }
    const head =
      '| store | fault | `memory` | `degraded` | `allow` | `deny` | cause named |\n|---|---|---|---|---|---|---|'
    const [begin, end] = [
      '<!-- faults: written by test/e2e/store-fault-matrix.test.ts -->',
      '<!-- end: faults -->',
    ]
    const [before, rest = ''] = text.split(begin)
    writeFileSync(page, `${before}${begin}\n${head}\n${rows.join('\n')}\n${end}${rest.split(end)[1] ?? ''}`)
  })
})
