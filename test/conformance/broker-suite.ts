import { afterAll, describe, expect, it } from 'vitest'
import { UnsupportedError } from '../../src/core/errors.ts'
import type { Dialect, Operation } from '../../src/core/message.ts'
import { Gate, limit } from '../../src/index.ts'
import { until } from '../support/wait.ts'
import { CELLS, type Cell, payloadOf, SENT, type Seen } from './broker-cells.ts'
import { checkTable, describeCell } from './broker-table.ts'

/** Message received by the receiver. */
export interface Arrival {
  readonly topic: string
  readonly text: string
}

/** Answers to the sender, by text and count; complete. */
export type Told = Readonly<Record<string, number>>

/** Broker, limiter with the gate of one cell, sender and receiver, all separate per test. */
export interface BrokerScene extends AsyncDisposable {
  /** Sends all messages in order on one connection to the topic `in/a`. Does not wait for held ones. */
  send(payloads: readonly string[]): Promise<void>
  /** Received messages of the topic `in/a` and all under `dead/`, in order of arrival. */
  readonly arrivals: readonly Arrival[]
  told(): Told | Promise<Told>
  /** Resolves once every pending message has arrived; none may follow. */
  settle(): Promise<void>
}

/** Description of a broker for the suite, and its ways to send: a QoS, an acknowledgement. */
export interface BrokerDriver {
  readonly dialect: Dialect
  readonly ways: readonly string[]
  /** Action that the rule limits. Default: publishes. */
  readonly on?: Operation | undefined
  /** Reason reported if a way does not support an outcome. */
  cannot(outcome: string, way: string): RegExp | undefined
  /** Expected answers to the sender for a cell, exactly. */
  told(cell: Cell, way: string): Told
  /** Expected messages at the receiver, if the way changes what the cell expects. */
  expected?(cell: Cell, way: string): Seen | undefined
  /** Rate of a cell, if a way needs another one. */
  rate?(cell: Cell, way: string): string | undefined
  /** Throws UnsupportedError if the gate asks for an outcome that the way does not support. */
  open(gate: Gate, way: string): Promise<BrokerScene>
}

/**
 * Tests a broker with every outcome and each way: received messages, no allowed message lost, duplicated or
 * reordered, and the answers to the sender by count. Unsupported outcomes are rejected on attach, with the reason.
 * The results are the broker's table in docs/outcomes.md.
 */
export function brokerConformance(name: string, driver: BrokerDriver): void {
  const seen = new Map<string, string>()

  describe.each(driver.ways)(`${name}, %s`, way => {
    it.each(CELLS)('$outcome', async cell => {
      const gate = new Gate({ dialect: driver.dialect })
      const { exceeded, outcome } = cell
      const rate = driver.rate?.(cell, way) ?? cell.rate
      gate.use(
        driver.dialect === 'nats' ? 'in.>' : 'in/#',
        limit({ name: 'r', rate, exceeded, dialect: driver.dialect, on: driver.on ?? 'publish' }),
      )
      const reason = driver.cannot(outcome, way)
      if (reason !== undefined) {
        const refusal = await driver.open(gate, way).then(
          () => undefined,
          (error: unknown) => error,
        )
        expect(refusal).toBeInstanceOf(UnsupportedError)
        expect((refusal as Error).message).toMatch(reason)
        expect((refusal as Error).message).toContain('"r"')
        seen.set(`${outcome}\n${way}`, 'refused when attached')
        await gate.close()
        return
      }
      await using scene = await driver.open(gate, way)
      const expected = driver.expected?.(cell, way) ?? cell.expected
      const told = driver.told(cell, way)
      await scene.send(Array.from({ length: SENT }, (_, index) => payloadOf(index)))
      await until(() => count(scene.arrivals) >= countOf(expected), {
        what: () => `${countOf(expected)} messages; there are ${count(scene.arrivals)}`,
      })
      await until(async () => JSON.stringify(await scene.told()) === JSON.stringify(told), {
        what: () => `the sender to be told ${JSON.stringify(told)}`,
        timeoutMs: 20_000,
      }).catch(() => undefined)
      await scene.settle()
      const got = sort(scene.arrivals)
      expect(cell.anyOrder === true ? ordered(got) : got).toEqual(expected)
      expect(await scene.told()).toEqual(told)
      seen.set(`${outcome}\n${way}`, describeCell(got, await scene.told()))
      await gate.close()
    })
  })

  describe(`${name}, the table`, () => {
    it('has a cell for every outcome and each way', () => {
      expect(seen.size).toBe(CELLS.length * driver.ways.length)
    })
    it('equals docs/outcomes.md', () => {
      checkTable(name, driver.ways, seen)
    })
  })
  afterAll(() => seen.clear())
}

function sort(arrivals: readonly Arrival[]): Seen {
  const [whole, degraded, elsewhere]: number[][] = [[], [], []]
  for (const { topic, text } of arrivals) {
    const { n, raw } = JSON.parse(text) as { n?: number; raw?: string }
    if (n === undefined) continue
    if (/^dead[./]/.test(topic)) elsewhere!.push(n)
    else if (raw === undefined) degraded!.push(n)
    else whole!.push(n)
  }
  return { whole: whole!, degraded: degraded!, elsewhere: elsewhere! }
}

function ordered({ whole, degraded, elsewhere }: Seen): Seen {
  const byNumber = (numbers: readonly number[]): readonly number[] => numbers.toSorted((a, b) => a - b)
  return { whole: byNumber(whole), degraded: byNumber(degraded), elsewhere: byNumber(elsewhere) }
}

function countOf({ whole, degraded, elsewhere }: Seen): number {
  return whole.length + degraded.length + elsewhere.length
}

function count(arrivals: readonly Arrival[]): number {
  return countOf(sort(arrivals))
}
