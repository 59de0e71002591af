import { formatCount, formatNumberOf, formatShare, formatTable } from '../terminal/format.ts'
import type { BenchMemory, Speed } from './bench-measure.ts'

/** Results of a benchmark; null for kinds of decisions that the traffic did not reach. */
export interface BenchReport {
  readonly machine: {
    readonly node: string
    readonly cpu: string
    readonly cores: number
    readonly memoryBytes: number
    readonly platform: string
  }
  readonly policy: { readonly files: readonly string[]; readonly rules: number; readonly exemptions: number }
  readonly senders: number
  readonly topics: number
  /** Subtracted from each percentile. */
  readonly timerNs: number
  readonly allowed: Speed | null
  readonly refused: Speed | null
  readonly memory: BenchMemory | null
}

/** Formats the results as tables. */
export function describeBench(report: BenchReport): readonly string[] {
  const { machine, policy, memory } = report
  const kinds = (['allowed', 'refused'] as const).flatMap(kind => {
    const speed = report[kind]
    return speed === null ? [] : [{ kind, speed }]
  })
  const rows = kinds.map(({ kind, speed }) => {
    const times = [speed.eachNs, speed.p50Ns, speed.p99Ns, speed.p999Ns].map(formatNanoseconds)
    return [kind, formatCount(speed.senders), formatCount(Math.round(speed.perSecond)), ...times]
  })
  const remarks = kinds
    .filter(({ speed }) => speed.share < 1)
    .map(
      ({ kind, speed }) =>
        `of the ${kind} only ${formatShare(speed.share * 1e6, 1e6)} were: the rest is in the figures`,
    )
  if (report.allowed === null) remarks.push('no message of this traffic was allowed')
  if (report.refused === null) remarks.push('no message of this traffic was refused in the available time')
  return [
    `Node ${machine.node}, ${machine.cores} × ${machine.cpu}, ${Math.round(machine.memoryBytes / 2 ** 30)} GiB, ${machine.platform}`,
    `${policy.files.join(' + ')}: ${formatNumberOf(policy.rules, 'rule')}, ${formatNumberOf(policy.exemptions, 'exemption')}; ` +
      `${formatNumberOf(report.senders, 'sender')} on ${formatNumberOf(report.topics, 'topic')}`,
    '',
    ...formatTable(['decisions', 'senders', 'a second', 'each', 'p50', 'p99', 'p99.9'], rows),
    ...remarks,
    '',
    ...(memory === null ? ['memory: cannot be measured here'] : describeMemory(memory)),
    '',
    `percentiles are of single decisions, less the ${formatNanoseconds(report.timerNs)} of the timer itself`,
  ]
}

function describeMemory(memory: BenchMemory): readonly string[] {
  const row = (what: string, bytes: number, count: number): readonly string[] => [
    what,
    formatCount(Math.round(bytes)),
    formatCount(count),
  ]
  const { keys, senders, perKeyBytes, perSenderBytes } = memory
  return formatTable(
    ['memory', 'bytes', 'of'],
    [
      ...(perKeyBytes === null ? [] : [row('each key of a rule', perKeyBytes, keys)]),
      row('each connected sender', perSenderBytes, senders),
    ],
  )
}

function formatNanoseconds(ns: number): string {
  return ns < 10_000 ? `${formatCount(Math.round(ns))} ns` : `${(ns / 1_000).toFixed(1)} µs`
}
