import type { SenderCard } from '../../admin/schemas/senders.ts'
import { formatCount, formatTable, formatUnits, formatWait, sanitizeForTerminal } from '../terminal/format.ts'

/** Renders the card of a sender. `nowMs` is the time that waits are counted from. */
export function renderCard(card: SenderCard, nowMs: number): readonly string[] {
  const { identity, limits, refusals, notAsked } = card
  const parts = Object.entries(identity).filter(([, value]) => value !== undefined)
  const connected = card.connected === null ? '' : card.connected ? ', connected' : ', not connected'
  const entries = [
    ...card.bans.map(each => `ban ${describeEntryTerms(each, nowMs)}`),
    ...card.overrides.map(each => `override ${each.limit} ${describeEntryTerms(each, nowMs)}`),
    ...card.tiers.map(each => `tier ${each.tier} ${describeEntryTerms(each, nowMs)}`),
    ...card.exemptions
      .filter(({ exempts }) => exempts)
      .map(({ name }) => `exempt by ${sanitizeForTerminal(name)}`),
  ]
  const rows = limits.map(
    ({ rule, counter, limit, remaining, unit, allowed, shadow, retryAfterMs, resetMs }) => [
      sanitizeForTerminal(rule, 40),
      sanitizeForTerminal(counter, 40),
      `${formatUnits(remaining, unit)} of ${formatUnits(limit, unit)}`,
      allowed ? 'passes' : `${shadow ? 'shadow: ' : ''}in ${wait(retryAfterMs)}`,
      wait(resetMs),
    ],
  )
  return [
    `${sanitizeForTerminal(card.id)}${connected}`,
    sanitizeForTerminal(card.summary, 300),
    '',
    ...parts.map(([name, value]) => `${name}: ${sanitizeForTerminal(String(value))}`),
    ...entries,
    '',
    ...(rows.length > 0
      ? formatTable(['rule', 'counter', 'left', 'next', 'full in'], rows)
      : ['no rule applies']),
    ...(notAsked.length > 0 ? [`depends on the topic: ${sanitizeForTerminal(notAsked.join(', '))}`] : []),
    ...(refusals.length > 0 ? ['', 'last refusals:'] : []),
    ...refusals.map(({ lastAtMs, count, topic, text }) => {
      const times = count === 1 ? '' : ` ×${formatCount(count)}`
      return `  ${formatWait(Math.max(0, nowMs - lastAtMs))} ago${times}  ${sanitizeForTerminal(topic, 60)}  ${sanitizeForTerminal(text, 120)}`
    }),
  ]
}

function wait(ms: number | null): string {
  return ms === null ? 'never' : formatWait(ms)
}

/** Describes the end, reason and author of an entry. */
export function describeEntryTerms(
  each: { readonly expiresAtMs?: number | undefined; readonly reason: string; readonly addedBy: string },
  nowMs: number,
): string {
  const end =
    each.expiresAtMs === undefined
      ? 'until removed'
      : `for ${formatWait(Math.max(0, each.expiresAtMs - nowMs))}`
  return `${end}: ${sanitizeForTerminal(each.reason)} (${sanitizeForTerminal(each.addedBy)})`
}
