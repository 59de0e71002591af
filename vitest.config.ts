import { availableParallelism } from 'node:os'
import { configDefaults, defineConfig } from 'vitest/config'
import { findServerTests } from './test/support/server-tests.ts'
import { SlowestFirst } from './test/support/slowest-first.ts'
import { TallyReporter } from './test/support/tally-reporter.ts'

/** Tests that take long, as `name.long.test.ts`, and those that do more with TOPICGATE_LONG=1. */
const LONG = '**/*.long.test.ts'
const MORE_IN_LONG = [
  'test/model/**/*.test.ts',
  'test/conformance/{gate-history,nats-kv,redis-cluster}.test.ts',
  'test/src/policy/load-policy.test.ts',
  'test/e2e/{aedes-suite,packet-fuzz,gateway-packet-fuzz}.test.ts',
  'test/brokers/nats-gateway/{control-line,fuzz}.test.ts',
  'test/e2e/store-fault-matrix.test.ts',
]
/** Long tests that measure no speed: they run beside others. */
const LONG_BESIDE_OTHERS = [
  'test/e2e/{ci-examples,dashboard,dashboard-screenshots,gateway-broker-faults,gateway-rabbitmq}.long.test.ts',
  'test/e2e/{mqtt-restart,nats-gateway-rolling-restart,nats-suite-behind-gateway,operators-evening}.long.test.ts',
  'test/e2e/{replay-bytes,rollout-loop,sigterm-promises,slow-connects,suggest-memory}.long.test.ts',
  'test/e2e/testing-entry-point.long.test.ts',
  'test/src/{attack,admin/event-streams,admin/slow-requests}.long.test.ts',
]
const isLong = process.env.TOPICGATE_LONG === '1'

const serverTests = findServerTests(import.meta.dirname)
// Tests of servers and processes wait much of their time.
const workers = 2 * availableParallelism()
const exclude = [...configDefaults.exclude, LONG]
const timeouts = (ms: number) => ({ testTimeout: ms, hookTimeout: ms })
/** Of tests with servers and processes. `TallyReporter` names those that needed it. */
const retry = 1

/** Timeouts catch what hangs. They are long, so that a slow or busy machine fails no test. */
export default defineConfig({
  test: {
    reporters: ['default', new TallyReporter()],
    passWithNoTests: false,
    maxWorkers: workers,
    experimental: { fsModuleCache: true, fsModuleCachePath: 'node_modules/.cache/topicgate/vitest' },
    sequence: { sequencer: SlowestFirst },
    projects: [
      {
        test: {
          name: 'structure',
          include: ['test/structure/**/*.test.ts'],
          isolate: false,
          ...timeouts(180_000),
        },
      },
      {
        // Needs no server and installs nothing. Files of one worker share their modules, which halves the time.
        test: {
          name: 'unit',
          isolate: false,
          include: ['test/**/*.test.ts'],
          exclude: [...exclude, 'test/e2e/**', 'test/structure/**', ...serverTests],
          ...timeouts(180_000),
        },
      },
      {
        test: {
          name: 'servers',
          isolate: false,
          include: [...serverTests],
          exclude,
          retry,
          ...timeouts(180_000),
        },
      },
      {
        test: {
          name: 'e2e',
          isolate: false,
          include: ['test/e2e/**/*.test.ts'],
          exclude,
          retry,
          ...timeouts(240_000),
        },
      },
      {
        // The same files as above, which do more with TOPICGATE_LONG=1.
        test: { name: 'more', include: isLong ? MORE_IN_LONG : [], retry, ...timeouts(300_000) },
      },
      {
        test: { name: 'long', include: LONG_BESIDE_OTHERS, retry, ...timeouts(300_000) },
      },
      {
        test: {
          name: 'timed',
          include: [LONG],
          exclude: [...configDefaults.exclude, ...LONG_BESIDE_OTHERS],
          retry,
          ...timeouts(300_000),
          // These measure real time: one file after another, and none beside others.
          fileParallelism: false,
          sequence: { groupOrder: 1 },
        },
      },
    ],
  },
})
