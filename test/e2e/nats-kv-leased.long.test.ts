import { beforeAll, expect, it } from 'vitest'
import { createLimit, type LimitSpec } from '../../src/algorithms/create-limit.ts'
import { leaseTermsOf, parseLeaseOptions } from '../../src/stores/leased/lease-terms.ts'
import { joinAdmitted, mostBeyondRate, readAdmitted } from '../support/admitted.ts'
import { ensureBuilt } from '../support/built.ts'
import { startNats } from '../support/nats.ts'
import { startNode } from '../support/program.ts'

const NODES = 8
const UNITS = 25
const FOR_MS = 10_000
/** What the report of a unit may be late on a busy machine. */
const LATE_MS = 500
const RATE: LimitSpec = { name: 'rate', algorithm: 'token-bucket', count: 2_000, periodMs: 1_000, burst: 200 }

beforeAll(ensureBuilt, 120_000)

it('eight processes that offer four times the limit pass it, within a hundredth, and never more than the bound', async () => {
  await using nats = await startNats({ jetstream: true })
  const args = {
    url: nats.url,
    forMs: FOR_MS,
    nodes: NODES,
    units: UNITS,
    limit: RATE,
    messages: 10,
    everyMs: 10,
  }
  const nodes = Array.from({ length: NODES }, () =>
    startNode(['test/e2e/nats-kv-node.js', JSON.stringify(args)]),
  )
  const ended = await Promise.all(nodes.map(node => node.ended))
  expect(ended.map(({ code, stderr }) => [code, stderr])).toEqual(nodes.map(() => [0, '']))

  const told = ended.map(({ stdout }) => readAdmitted(stdout))
  const { admitted, total, spanMs } = joinAdmitted(told)
  const figures = ended.map(({ stdout }) =>
    /^asked (\d+) conflicts (\d+) p50 (\d+)$/m.exec(stdout)!.slice(1).map(Number),
  )
  const sum = (place: number): number => figures.reduce((total, each) => total + each[place]!, 0)
  const perMs = RATE.count / RATE.periodMs
  // Only while all of them ask is four times the limit offered.
  const fromMs = Math.max(...told.map(own => own[0]![0]))
  const toMs = Math.min(...told.map(own => own.at(-1)![0]))
  const long = admitted.reduce((all, [ms, units]) => (ms > fromMs && ms <= toMs ? all + units : all), 0)
  const part = long / (perMs * (toMs - fromMs))
  const lease = leaseTermsOf(createLimit(RATE), parseLeaseOptions({ nodes: NODES, units: UNITS }))!.maxGrains
  const beyond = mostBeyondRate(admitted, perMs)
  const p50Ns = figures.map(([, , ns]) => ns!)
  console.log(
    `${(100 * part).toFixed(2)} % of the limit over ${toMs - fromMs} ms; ${total} in ${spanMs} ms, at most ${Math.round(beyond)} beyond the rate; ${sum(0)} calls, ${sum(1)} conflicts; p50 ${p50Ns.join(' ')} ns`,
  )
  expect(lease).toBe(UNITS)
  expect(beyond).toBeLessThanOrEqual(RATE.burst! + NODES * lease + perMs * LATE_MS)
  // A process reports a unit after it took it, on a busy machine much later.
  expect(total).toBeLessThanOrEqual(RATE.burst! + perMs * (spanMs + LATE_MS))
  // What lies in leases at either end of the span is its only blur.
  const blur = (NODES * lease) / (perMs * (toMs - fromMs))
  expect(part).toBeGreaterThan(0.9 - blur)
  expect(part).toBeLessThan(1.1 + blur)
})
