import { describe, expect, it } from 'vitest'
import type { RunningServer } from '../../../../src/cli/server/server-types.ts'
import { RunningWorker } from '../../../../src/cli/workers/running-worker.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { Analytics, createSender, DecisionTimer, Gate, limit } from '../../../../src/index.ts'
import { FakeClock } from '../../../support/fake-clock.ts'

const NO_PORTS = { port: undefined, wsPort: undefined, tlsPort: undefined, wssPort: undefined }

function startWorker(keepsRefusals: boolean): RunningWorker {
  const gate = new Gate({ clock: new FakeClock() })
  gate.use(limit({ name: 'one', limit: '1/day', per: 'client' }))
  const server: RunningServer = {
    ...NO_PORTS,
    protocol: 'mqtt',
    limits: { stats: () => ({ connections: 3, held: 2, answers: [] }) },
    isServing: () => true,
    collectMetrics: () => [],
    close: async () => {},
  }
  const counts = { analytics: new Analytics({ gate }), durations: new DecisionTimer({ gate }), node: 'a' }
  return new RunningWorker(gate, server, counts, keepsRefusals)
}

function send({ gate }: RunningWorker, client: string, times: number): void {
  const sender = createSender({ client })
  for (let time = 0; time < times; time++) gate.checkSync({ topic: 'a', sender, size: 1 })
}

describe('a worker', () => {
  it('reports what it counted since its last report', () => {
    const worker = startWorker(true)
    send(worker, 'c', 5)
    expect(worker.report()).toMatchObject({
      analytics: { slices: [{ total: 5, blocked: 4 }] },
      refusals: [{ sender: { client: 'c' }, refusals: [{ rule: 'one', count: 4 }] }],
      stats: { connections: 3, held: 2, overflowed: 0 },
      isServing: true,
    })
    expect(worker.report()).toMatchObject({ analytics: { slices: [] }, refusals: [] })
  })

  it('reports refused senders only if an admin server shows them, and a bounded number', () => {
    const [shown, hidden] = [startWorker(true), startWorker(false)]
    for (let client = 0; client <= MAX_SIZES.reportedSenders; client++) {
      send(shown, `c${client}`, 2)
      send(hidden, `c${client}`, 2)
    }
    expect(shown.report().refusals).toHaveLength(MAX_SIZES.reportedSenders)
    expect(hidden.report()).toMatchObject({ refusals: [], analytics: { slices: [{ blocked: 1_001 }] } })
  })
})
