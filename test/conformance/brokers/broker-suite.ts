import { afterAll, describe, expect, it } from 'vitest'
import { UnsupportedError } from '../../../src/core/errors.ts'
import type { Dialect, Operation } from '../../../src/core/message.ts'
import { Gate, limit } from '../../../src/index.ts'
import { until } from '../../support/wait.ts'
import { MESSAGE_COUNT, OUTCOME_CASES, type OutcomeCase, payloadOf, type Received } from './outcome-cases.ts'
import { checkTable, describeCell } from './outcome-table.ts'

/** Message received by the receiver. */
export interface Arrival {
  readonly topic: string
  readonly text: string
}

/** Number of answers that the sender gets, by kind, such as `{ acknowledged: 40 }`. */
export type SenderAnswers = Readonly<Record<string, number>>

/** A broker, a limiter with the rule of one case, a sender and a receiver. Each test starts its own. */
export interface BrokerScene extends AsyncDisposable {
  /** Sends all messages in order on one connection to the topic `in/a`. Does not wait for held ones. */
  send(payloads: readonly string[]): Promise<void>
  /** Received messages of the topic `in/a` and all under `dead/`, in order of arrival. */
  readonly arrivals: readonly Arrival[]
  /** Answers that the sender has got so far. */
  answers(): SenderAnswers | Promise<SenderAnswers>
  /** Resolves when every pending message has arrived. None may arrive later. */
  waitForPending(): Promise<void>
}

/** A broker to test, in each of its modes: ways to send or receive, such as `QoS 1` or `requests`. */
export interface BrokerDriver {
  readonly dialect: Dialect
  readonly modes: readonly string[]
  /** Action that the rule limits. Default: publishes. */
  readonly on?: Operation | undefined
  /** Returns the reason that must be reported if a mode does not support an outcome; undefined if it does. */
  unsupportedReason(outcome: string, mode: string): RegExp | undefined
  /** Returns the answers that the sender must get, exactly. */
  expectedAnswers(outcomeCase: OutcomeCase, mode: string): SenderAnswers
  /** Returns the messages that the receiver must get in a mode, if they differ from those of the case. */
  expected?(outcomeCase: OutcomeCase, mode: string): Received | undefined
  /** Returns the rate of a case, if a mode needs another one. */
  rate?(outcomeCase: OutcomeCase, mode: string): string | undefined
  /** Throws UnsupportedError if the gate asks for an outcome that the mode does not support. */
  open(gate: Gate, mode: string): Promise<BrokerScene>
}

/**
 * Tests a broker with every outcome in each mode: allowed messages arrive once and in order, and the sender gets the
 * expected answers. Unsupported outcomes are rejected on attach, with the reason.
 * The results are the broker's table in docs/outcomes.md.
 */
export function brokerConformance(name: string, driver: BrokerDriver): void {
  const results = new Map<string, string>()

  describe.each(driver.modes)(`${name}, %s`, mode => {
    it.each(OUTCOME_CASES)('$outcome', async outcomeCase => {
      const gate = new Gate({ dialect: driver.dialect })
      const { exceeded, outcome } = outcomeCase
      const rate = driver.rate?.(outcomeCase, mode) ?? outcomeCase.rate
      gate.use(
        driver.dialect === 'nats' ? 'in.>' : 'in/#',
        limit({ name: 'r', rate, exceeded, dialect: driver.dialect, on: driver.on ?? 'publish' }),
      )
      const reason = driver.unsupportedReason(outcome, mode)
      if (reason !== undefined) {
        const refusal = await driver.open(gate, mode).then(
          () => undefined,
          (error: unknown) => error,
        )
        expect(refusal).toBeInstanceOf(UnsupportedError)
        expect((refusal as Error).message).toMatch(reason)
        expect((refusal as Error).message).toContain('"r"')
        results.set(`${outcome}\n${mode}`, 'refused when attached')
        await gate.close()
        return
      }
      await using scene = await driver.open(gate, mode)
      const expected = driver.expected?.(outcomeCase, mode) ?? outcomeCase.expected
      const expectedAnswers = driver.expectedAnswers(outcomeCase, mode)
      await scene.send(Array.from({ length: MESSAGE_COUNT }, (_, index) => payloadOf(index)))
      await until(() => count(scene.arrivals) >= countOf(expected), {
        what: () => `${countOf(expected)} messages; there are ${count(scene.arrivals)}`,
      })
      await until(async () => JSON.stringify(await scene.answers()) === JSON.stringify(expectedAnswers), {
        what: () => `answers to the sender: ${JSON.stringify(expectedAnswers)}`,
        timeoutMs: 20_000,
      }).catch(() => undefined)
      await scene.waitForPending()
      const got = groupNumbers(scene.arrivals)
      expect(outcomeCase.anyOrder === true ? sortNumbers(got) : got).toEqual(expected)
      expect(await scene.answers()).toEqual(expectedAnswers)
      results.set(`${outcome}\n${mode}`, describeCell(got, await scene.answers()))
      await gate.close()
    })
  })

  describe(`${name}, the table`, () => {
    it('has a cell for every outcome in each mode', () => {
      expect(results.size).toBe(OUTCOME_CASES.length * driver.modes.length)
    })
    it('equals docs/outcomes.md', () => {
      checkTable(name, driver.modes, results)
    })
  })
  afterAll(() => results.clear())
}

/** Returns the numbers of the messages by how they arrived. */
function groupNumbers(arrivals: readonly Arrival[]): Received {
  const [whole, degraded, redirected]: number[][] = [[], [], []]
  for (const { topic, text } of arrivals) {
    const { n, raw } = JSON.parse(text) as { n?: number; raw?: string }
    if (n === undefined) continue
    if (/^dead[./]/.test(topic)) redirected!.push(n)
    else if (raw === undefined) degraded!.push(n)
    else whole!.push(n)
  }
  return { whole: whole!, degraded: degraded!, redirected: redirected! }
}

function sortNumbers({ whole, degraded, redirected }: Received): Received {
  const byNumber = (numbers: readonly number[]): readonly number[] => numbers.toSorted((a, b) => a - b)
  return { whole: byNumber(whole), degraded: byNumber(degraded), redirected: byNumber(redirected) }
}

function countOf({ whole, degraded, redirected }: Received): number {
  return whole.length + degraded.length + redirected.length
}

function count(arrivals: readonly Arrival[]): number {
  return countOf(groupNumbers(arrivals))
}
