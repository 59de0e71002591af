import { formatBytes } from '../core/units.ts'
import { millisOrNull } from './json-values.ts'
import type { Unit } from './schemas/common.ts'
import type { RefusalJson } from './schemas/senders.ts'
import type { Refusal } from './state/recent-refusals.ts'

const REASONS: Readonly<Record<string, string>> = {
  banned: 'it is banned',
  too_large: 'the message is larger than the rule allows',
  unchanged: 'the payload equals the last one of the topic',
  store_unavailable: 'the store is not available, and the fallback denies',
  superseded: 'a newer message of the topic replaced it',
  handler_busy: 'the handler is busy; this is not caused by the sender',
  handler_failing: 'the handler fails; this is not caused by the sender',
  connections_exceeded: 'it has as many connections as are allowed',
  subscriptions_exceeded: 'it has as many subscriptions as are allowed',
  retained_exceeded: 'it has as many retained messages as are allowed',
}

/**
 * Returns the reason of a refusal in one sentence: `0 of 50 left under per-device; passes again in 100 ms`. `unit` is that
 * of the rule.
 */
export function describeRefusal(
  refusal: Pick<Refusal, 'rule' | 'reason' | 'limit' | 'remaining' | 'retryAfterMs'>,
  unit: Unit = 'messages',
): string {
  const { rule, reason, limit, remaining, retryAfterMs } = refusal
  const under = rule === undefined ? '' : ` under ${rule}`
  const known = REASONS[reason]
  const cause =
    known !== undefined
      ? `${known}${under}`
      : limit === undefined
        ? `${reason.replaceAll('_', ' ')}${under}`
        : `${describeLeft(remaining ?? 0, limit, unit)} left${under}`
  return `${cause}; ${describeWait(retryAfterMs)}`
}

/** Returns a refusal for JSON, with its reason. `unit` is that of its rule; `count` is by default that of the record. */
export function toRefusalJson(refusal: Refusal, unit: Unit | undefined, count = refusal.count): RefusalJson {
  const { topic, on, rule, reason, outcome, limit, remaining, retryAfterMs, atMs, lastAtMs } = refusal
  return {
    atMs,
    lastAtMs,
    count,
    topic,
    on,
    rule,
    reason,
    outcome,
    limit,
    remaining,
    unit: limit === undefined ? undefined : unit,
    retryAfterMs: millisOrNull(retryAfterMs),
    text: describeRefusal(refusal, unit),
  }
}

function describeLeft(remaining: number, limit: number, unit: Unit): string {
  return unit === 'bytes' ? `${formatBytes(remaining)} of ${formatBytes(limit)}` : `${remaining} of ${limit}`
}

function describeWait(ms: number): string {
  if (ms === Infinity) return 'this message never passes'
  if (ms < 1_000) return `passes again in ${Math.ceil(ms)} ms`
  if (ms < 120_000) return `passes again in ${Math.ceil(ms / 1_000)} s`
  if (ms < 7_200_000) return `passes again in ${Math.ceil(ms / 60_000)} min`
  return `passes again in ${Math.ceil(ms / 3_600_000)} h`
}
