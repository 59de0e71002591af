import { describe, expect, it } from 'vitest'
import { ClusterSummaryLogger } from '../../../../src/cli/monitoring/cluster-summary-log.ts'
import type { Logger } from '../../../../src/core/logger.ts'
import { SILENT } from '../../../../src/core/logger.ts'
import { Analytics, createSender, Gate, MemorySnapshots, SnapshotExporter } from '../../../../src/index.ts'
import { FakeClock } from '../../../support/fake-clock.ts'

function listening(): { logger: Logger; lines: string[] } {
  const lines: string[] = []
  const say =
    (level: string) =>
    (context: unknown, text: string): void =>
      void lines.push(`${level} ${text} ${(context as { total?: number }).total}`)
  return { logger: { ...SILENT, info: say('info'), warn: say('warn') } as Logger, lines }
}

describe('the summary of all nodes', () => {
  it('is told every five minutes, ten seconds after they have left theirs, until it is closed', async () => {
    const clock = new FakeClock()
    const store = new MemorySnapshots({ clock })
    const gates = [new Gate({ clock }), new Gate({ clock })]
    const exporters = gates.map(gate => {
      const analytics = new Analytics({ gate })
      return { gate, exporter: new SnapshotExporter({ analytics, clock, store }) }
    })
    const { logger, lines } = listening()
    const summary = new ClusterSummaryLogger(store, clock, logger)
    for (const { gate } of exporters)
      for (let n = 0; n < 3; n++)
        gate.check({ topic: 't', on: 'publish', sender: createSender({ client: 'c' }), size: 1 })
    await clock.advanceAsync(309_999)
    expect(lines).toEqual([])
    await clock.advanceAsync(1)
    expect(lines).toEqual(['info analytics of the last hour of all nodes 6'])
    await clock.advanceAsync(600_000)
    expect(lines).toHaveLength(3)
    summary.close()
    for (const { exporter } of exporters) await exporter.close()
    await clock.advanceAsync(600_000)
    expect(lines).toHaveLength(3)
  })

  it('is a warning where the store cannot be read', async () => {
    const { logger, lines } = listening()
    const broken = { put: async () => {}, list: () => Promise.reject(new Error('away')) }
    const summary = new ClusterSummaryLogger(broken, new FakeClock(), logger)
    await summary.logSummary()
    summary.close()
    expect(lines).toEqual(['warn the analytics of other nodes could not be read undefined'])
  })
})
