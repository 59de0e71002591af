import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { listImports, ROOT, readText, stripComments } from './project.ts'

// After a deliberate change of the public names: npx vitest run test/structure/exports.test.ts -u

interface EntryPoint {
  readonly types: string
  readonly default: string
}

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  readonly bin: Readonly<Record<string, string>>
  readonly exports: Readonly<Record<string, EntryPoint | string>>
}
const entryPoints = Object.keys(manifest.exports)

/** Returns the source path of a built file. */
function sourceOf(built: string): string {
  return built.replace(/^(\.\/)?dist\//, '').replace(/\.js$/, '.ts')
}

/** Returns the names exported by an entry point; types have the prefix `type`. */
async function namesOf(entryPoint: string): Promise<string[]> {
  const built = manifest.exports[entryPoint]
  if (built === undefined || typeof built === 'string')
    throw new Error(`package.json has no entry point ${entryPoint}`)
  const source = sourceOf(built.default)
  if (!existsSync(join(ROOT, source)))
    throw new Error(`the entry point ${entryPoint} refers to ${source}: write it, or remove it`)
  const values = Object.keys((await import(join(ROOT, source))) as object)
  return [...values.sort(), ...typesOf(source).map(name => `type ${name}`)]
}

function typesOf(source: string): string[] {
  const text = stripComments(readText(source), { strings: 'blank' })
  const lists = [...text.matchAll(/export\s+(type\s+)?\{([^}]*)\}/g)].flatMap(([, type, names]) =>
    names!
      .split(',')
      .map(name => name.trim())
      .filter(name => name !== '' && (type || name.startsWith('type ')))
      .map(name => name.replace(/^type\s+/, '').replace(/^.*\sas\s+/, '')),
  )
  const own = [...text.matchAll(/^export\s+(?:interface|type)\s+(\w+)/gm)].map(([, name]) => name!)
  return [...new Set([...lists, ...own])].sort()
}

describe('public entry points', () => {
  it('are these', () => {
    expect(entryPoints).toMatchInlineSnapshot(`
      [
        ".",
        "./aedes",
        "./mqtt",
        "./gateway",
        "./nats",
        "./sqlite",
        "./redis",
        "./nats-kv",
        "./admin",
        "./testing",
        "./package.json",
      ]
    `)
  })

  it.each(Object.entries(manifest.exports))(
    '%s leads to a source that is built to where it says',
    (entryPoint, built) => {
      if (typeof built === 'string') return expect(existsSync(join(ROOT, built))).toBe(true)
      expect(built.types, `types of ${entryPoint}`).toBe(built.default.replace(/\.js$/, '.d.ts'))
      expect(existsSync(join(ROOT, sourceOf(built.default))), `${sourceOf(built.default)} exists`).toBe(true)
    },
  )

  it.each(Object.entries(manifest.bin))('the command %s has a source that can be run', (_name, built) => {
    const source = sourceOf(built)
    expect(existsSync(join(ROOT, source)), `${source} exists`).toBe(true)
    expect(readText(source).split('\n')[0]).toBe('#!/usr/bin/env node')
  })

  it('. gives out', async () => {
    expect(await namesOf('.')).toMatchInlineSnapshot(`
      [
        "ALGORITHM_NAMES",
        "Alerts",
        "Analytics",
        "BEHAVIOUR_FACTORS",
        "DEFAULT_TIERS",
        "DecisionTimer",
        "Gate",
        "Guard",
        "LeasedStore",
        "METRICS_TYPE",
        "MemorySnapshots",
        "MemoryStore",
        "OUTCOMES",
        "PolicyError",
        "RedisSnapshots",
        "ResilientStore",
        "SenderCache",
        "SnapshotExporter",
        "SqliteSnapshots",
        "StoreError",
        "UnsupportedError",
        "Webhook",
        "adaptive",
        "aimd",
        "andThen",
        "behaviour",
        "circuitBreaker",
        "clusterSnapshot",
        "collectMetrics",
        "consumerLag",
        "createLimit",
        "createSender",
        "defaultAlerts",
        "defineAlgorithm",
        "errorRate",
        "exempt",
        "gradient",
        "keepAuditLog",
        "keyOfSender",
        "limit",
        "lowerCaseFields",
        "matches",
        "natsRefusalHeaders",
        "observeMetrics",
        "openStore",
        "queueDepth",
        "quota",
        "rateLimitFields",
        "refusalText",
        "registerMetrics",
        "renderMetrics",
        "systemClock",
        "toAlgorithm",
        "validPattern",
        "validTopic",
        "type Adaptive",
        "type AdaptiveOptions",
        "type AdaptiveStats",
        "type AimdOptions",
        "type Alert",
        "type AlertReadings",
        "type AlertRule",
        "type AlertThresholds",
        "type AlertsOptions",
        "type Algorithm",
        "type AlgorithmName",
        "type AnalyticsOptions",
        "type AnalyticsRange",
        "type AnalyticsSnapshot",
        "type AnalyticsSpan",
        "type AppliedPolicy",
        "type AuditChange",
        "type AuditLog",
        "type AuditPage",
        "type AuditRecord",
        "type BanOptions",
        "type BehaviourFactorsSpec",
        "type BehaviourLevel",
        "type BehaviourLimiter",
        "type BehaviourScalerOptions",
        "type BrokerResource",
        "type Charge",
        "type CircuitBreaker",
        "type CircuitState",
        "type Clock",
        "type ConditionSpec",
        "type Cost",
        "type CustomAlgorithm",
        "type CustomState",
        "type Decision",
        "type Dialect",
        "type DurationsOptions",
        "type EphemeralEntries",
        "type ErrorRate",
        "type ExceededSpec",
        "type ExemptOptions",
        "type ExemptionTrace",
        "type Explanation",
        "type Fallback",
        "type FeedbackLimiter",
        "type FeedbackLimiterOptions",
        "type FieldPath",
        "type GateEvents",
        "type GateOptions",
        "type GateRunOptions",
        "type GateStats",
        "type GivenMessage",
        "type GradientOptions",
        "type GuardOptions",
        "type GuardStats",
        "type HandlerBreakerOptions",
        "type HandlerResult",
        "type HandlerRunResult",
        "type HandlerSlot",
        "type HandlerStats",
        "type HandlerTrace",
        "type InFlightOptions",
        "type KeyInFlight",
        "type LeasedHealth",
        "type LeasedStoreOptions",
        "type LimitNumbers",
        "type LimitOptions",
        "type LimitSpec",
        "type LimitTrace",
        "type LimitWarning",
        "type LoadLevelFactors",
        "type LoadReport",
        "type LoadSource",
        "type LoadStageFactors",
        "type Logger",
        "type MaybePromise",
        "type MemoryStoreOptions",
        "type Message",
        "type MessageSizeOptions",
        "type MetricFamily",
        "type MetricSources",
        "type Middleware",
        "type MiddlewareContext",
        "type Next",
        "type NoHandlerSlot",
        "type OpenStoreOptions",
        "type Operation",
        "type Outcome",
        "type OutcomeFunction",
        "type OverrideOptions",
        "type PenaltySpec",
        "type PolicyReloadResult",
        "type PolicySource",
        "type PolicyStats",
        "type Problem",
        "type QuotaOptions",
        "type Reason",
        "type RedisCommands",
        "type RedisSnapshotsOptions",
        "type RefusalWords",
        "type ResilientStoreOptions",
        "type ResourceCounts",
        "type ResourceHolder",
        "type ResourceKind",
        "type ResourceLimitOptions",
        "type RuleInfo",
        "type RuleMetrics",
        "type RuntimeEntry",
        "type RuntimeEntryChange",
        "type RuntimeEntryKind",
        "type RuntimeEntryOptions",
        "type RuntimeExemption",
        "type Scaled",
        "type Scope",
        "type Sender",
        "type SenderMatchLists",
        "type SenderQueue",
        "type SenderSelector",
        "type ShareableBackend",
        "type SharedEntries",
        "type SharedEntriesWatch",
        "type SharedEntry",
        "type Signal",
        "type SignalName",
        "type SignalWord",
        "type SizeTrace",
        "type SkippedRule",
        "type SnapshotExporterOptions",
        "type SnapshotStore",
        "type SqliteSnapshotsOptions",
        "type StateSelector",
        "type StepResult",
        "type Store",
        "type StoreHealth",
        "type StoreSpec",
        "type StoredSnapshot",
        "type TableFullWarning",
        "type TierAssignmentOptions",
        "type TierLookupOptions",
        "type TierSpec",
        "type TiersSpec",
        "type TopList",
        "type UnchangedPayloadOptions",
        "type UnchangedTrace",
        "type ValueTest",
        "type Verdict",
        "type WebhookOptions",
        "type WebhookStats",
      ]
    `)
  })

  it('./aedes gives out', async () => {
    expect(await namesOf('./aedes')).toMatchInlineSnapshot(`
      [
        "CONNECT_TOPIC",
        "NotAuthorizedError",
        "behindProxy",
        "limitBroker",
        "limitServer",
        "trustProxies",
        "type BehindProxyOptions",
        "type BrokerLimiter",
        "type BrokerStats",
        "type Identify",
        "type LimitBrokerOptions",
        "type LimitServerOptions",
        "type ServerLimiter",
        "type TrustProxy",
      ]
    `)
  })

  it('./gateway gives out', async () => {
    expect(await namesOf('./gateway')).toMatchInlineSnapshot(`
      [
        "CONNECT_TOPIC",
        "mqttGateway",
        "natsGateway",
        "type ClientPeer",
        "type GatewayClient",
        "type MqttGateway",
        "type MqttGatewayOptions",
        "type MqttGatewayStats",
        "type NatsConnectingClient",
        "type NatsGateway",
        "type NatsGatewayClient",
        "type NatsGatewayOptions",
        "type NatsGatewayStats",
        "type PacketCount",
      ]
    `)
  })

  it('./mqtt gives out', async () => {
    expect(await namesOf('./mqtt')).toMatchInlineSnapshot(`
      [
        "limitConsumer",
        "limitPublishes",
        "type BackOffOptions",
        "type ConsumerLimiter",
        "type ConsumerOptions",
        "type ConsumerStats",
        "type Handler",
        "type Identify",
        "type MessageLimits",
        "type MqttClient",
        "type MqttJsPublishPacket",
        "type MqttPublisher",
        "type MqttPublisherOptions",
        "type Priority",
        "type PublishOptions",
        "type PublishRate",
        "type Published",
        "type PublisherControls",
        "type PublisherOptions",
        "type PublisherStats",
        "type QueuedPublishOptions",
        "type ReceivingClient",
      ]
    `)
  })

  it('./nats gives out', async () => {
    expect(await namesOf('./nats')).toMatchInlineSnapshot(`
      [
        "limitNats",
        "limitPublishes",
        "type ConsumerSource",
        "type ConsumerStatus",
        "type DrainOptions",
        "type Handler",
        "type Identify",
        "type JetStreamConsumer",
        "type JetStreamMessage",
        "type LimitNatsOptions",
        "type MessageLimits",
        "type MessageSource",
        "type NatsConnection",
        "type NatsHeaders",
        "type NatsLimiter",
        "type NatsMessage",
        "type NatsPublishOptions",
        "type NatsPublishTarget",
        "type NatsPublisher",
        "type NatsPublisherOptions",
        "type NatsStats",
        "type NatsSubscribeOptions",
        "type Priority",
        "type PublishRate",
        "type Published",
        "type PublisherControls",
        "type PublisherOptions",
        "type PublisherStats",
        "type PublishingConnection",
        "type PublishingJetStream",
        "type PullConsumer",
        "type PullOptions",
        "type QueuedPublishOptions",
      ]
    `)
  })

  it('./nats-kv gives out', async () => {
    expect(await namesOf('./nats-kv')).toMatchInlineSnapshot(`
      [
        "NatsKvStore",
        "NatsStreamStore",
        "openNatsKv",
        "openNatsStream",
        "type NatsConnection",
        "type NatsKvHealth",
        "type NatsKvStoreOptions",
        "type NatsReply",
        "type NatsStreamStoreOptions",
        "type OpenNatsKvOptions",
        "type OpenNatsStreamOptions",
        "type ReachOptions",
      ]
    `)
  })

  it('./testing gives out', async () => {
    expect(await namesOf('./testing')).toMatchInlineSnapshot(`
      [
        "FakeClock",
        "Model",
        "algorithmConformance",
        "createLimit",
        "random",
        "storeConformance",
        "type AlgorithmOptions",
        "type Answer",
        "type ConformanceOptions",
        "type LimitSpec",
        "type ModelCharge",
        "type Random",
        "type Rule",
        "type Trial",
      ]
    `)
  })

  it('hide nothing behind a star', () => {
    const starred = entryPoints.flatMap(entryPoint => {
      const built = manifest.exports[entryPoint]
      if (built === undefined || typeof built === 'string') return []
      const source = sourceOf(built.default)
      return existsSync(join(ROOT, source)) && /export\s+\*\s+from/.test(readText(source)) ? [source] : []
    })
    expect(starred, 'name each export, so that an entry point shows what it exports').toEqual([])
  })
})

describe('the main entry point', () => {
  it('only re-exports', () => {
    const source = 'src/index.ts'
    const text = stripComments(readText(source), { strings: 'blank' })
    const rest = text.replace(/export\s+(type\s+)?\{[^}]*\}\s+from\s+''/g, '').trim()
    expect(rest, `${source} holds more than export { … } from`).toBe('')
    expect(listImports(source).every(({ kind }) => kind !== 'dynamic')).toBe(true)
  })
})
