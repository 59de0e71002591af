import { relative } from 'node:path'
import { BaseSequencer, type TestSpecification } from 'vitest/node'

/** Test files that take ten seconds or more, by project, so that a worker changes its project rarely. */
const SLOWEST: readonly string[] = [
  ...[
    'test/docs/commands.test.ts',
    'test/model/memory.test.ts',
    'test/model/sqlite.test.ts',
    'test/src/cli/bench/bench.test.ts',
    'test/conformance/brokers/aedes.test.ts',
  ],
  ...[
    'test/docs/programs.test.ts',
    'test/brokers/nats/jetstream.test.ts',
    'test/conformance/brokers/mqtt-gateway.test.ts',
    'test/conformance/brokers/mqtt.test.ts',
    'test/conformance/brokers/nats.test.ts',
    'test/conformance/redis.test.ts',
    'test/conformance/broker-decisions.test.ts',
  ],
  ...[
    'test/e2e/aedes-suite.test.ts',
    'test/e2e/gateway-packet-fuzz.test.ts',
    'test/e2e/cli-broker-monitoring.test.ts',
    'test/e2e/mqtt-consumer.test.ts',
    'test/e2e/broker-persistence.test.ts',
    'test/e2e/shared-entries.test.ts',
  ],
]

/** Starts the slowest files first, so that all workers end at about the same time. The others keep the default order. */
export class SlowestFirst extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files)
    const root = this.ctx.config.root
    const rankOf = ({ moduleId }: TestSpecification): number => {
      const rank = SLOWEST.indexOf(relative(root, moduleId))
      return rank < 0 ? SLOWEST.length : rank
    }
    return sorted.toSorted((one, other) => rankOf(one) - rankOf(other))
  }
}
