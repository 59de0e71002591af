import { stringify } from 'yaml'
import {
  formatCount,
  formatNumberOf,
  formatShare,
  formatTable,
  sanitizeForTerminal,
} from '../terminal/format.ts'
import type { Paint } from '../terminal/terminal.ts'
import type { ChangedWord, PolicyChange } from './compare-policies.ts'
import { DECISION_CHANGES, type DecisionChanges } from './decision-changes.ts'

const MAX_VALUE_CHARS = 200

/** Characters shown before the first difference of long texts. */
const CONTEXT_CHARS = 40

/** Formats the differences of two policies, one a line. */
export function describePolicyChanges(changes: readonly PolicyChange[], paint: Paint): readonly string[] {
  if (changes.length === 0) return ['no differences']
  return changes.map(change => describePolicyChange(change, paint))
}

function describePolicyChange({ kind, what, name, newName, words }: PolicyChange, paint: Paint): string {
  const subject = what === 'policy' ? '' : `${what} ${sanitizeForTerminal(name)}: `
  if (kind === 'new')
    return `${paint('green', '+')} ${subject}new: ${describeValues(words, ({ new: now }) => now)}`
  if (kind === 'gone')
    return `${paint('red', '-')} ${subject}gone: ${describeValues(words, ({ old }) => old)}`
  if (kind === 'moved')
    return `${paint('yellow', '~')} ${what}s are in another order, from ${sanitizeForTerminal(name)} on`
  if (kind === 'renamed') {
    const counts = what === 'rule' ? '; it starts with new counts' : ''
    return `${paint('yellow', '~')} ${subject}now called ${sanitizeForTerminal(newName ?? '')}${counts}`
  }
  return `${paint('yellow', '~')} ${subject}${words.map(describeWord).join(', ')}`
}

function describeWord({ word, old, new: now }: ChangedWord): string {
  const [before, after] = cutToDifference(formatValue(old), formatValue(now))
  return `${sanitizeForTerminal(word, MAX_VALUE_CHARS)} ${before} → ${after}`
}

function describeValues(words: readonly ChangedWord[], read: (word: ChangedWord) => unknown): string {
  const texts = words.map(each => [each.word, formatValue(read(each))])
  return texts.map(pair => pair.map(text => sanitizeForTerminal(text, MAX_VALUE_CHARS)).join(' ')).join(', ')
}

/** Formats a value as the policy has it, on one line. */
function formatValue(value: unknown): string {
  if (value === undefined) return 'none'
  if (typeof value === 'string') return value
  return stringify(value, { collectionStyle: 'flow', flowCollectionPadding: false, lineWidth: 0 }).trimEnd()
}

/** Cuts long texts, so that the first character that differs is shown. */
function cutToDifference(old: string, now: string): readonly [string, string] {
  const differsAt = [...old].findIndex((char, index) => char !== now[index])
  const from = Math.max(0, (differsAt < 0 ? old.length : differsAt) - CONTEXT_CHARS)
  const cut = (text: string): string =>
    text.length <= MAX_VALUE_CHARS || from === 0
      ? sanitizeForTerminal(text, MAX_VALUE_CHARS)
      : `…${sanitizeForTerminal(text.slice(from), MAX_VALUE_CHARS)}`
  return [cut(old), cut(now)]
}

/** Formats how many messages of a capture are decided differently, by rule and sender. */
export function describeDecisionChanges(changes: DecisionChanges): readonly string[] {
  const { messages, inShadow } = changes
  const kinds = DECISION_CHANGES.map(change => ({
    word: change.replace('-', ' '),
    ...changes.totals(change),
  }))
  const same = kinds.reduce((left, { count }) => left - count, messages)
  const counts = kinds.map(
    ({ word, count }) => `${formatCount(count)} ${word} (${formatShare(count, messages)})`,
  )
  const lines = [
    `${formatNumberOf(messages, 'message')}: ${[...counts, `${formatCount(same)} the same`].join(', ')}`,
  ]
  if (inShadow.old + inShadow.new > 0) {
    const shadowed = `${formatCount(inShadow.old)} → ${formatCount(inShadow.new)}`
    lines.push(`rules in shadow would refuse: ${shadowed} messages`)
  }
  for (const { word, count, rules, senders } of kinds) {
    if (count === 0) continue
    const ruleRows = rules.map(each => [
      sanitizeForTerminal(each.rule),
      formatCount(each.count),
      each.lines.map(formatCount).join(' '),
    ])
    lines.push('', ...formatTable([`${word} by rule`, 'messages', 'first lines'], ruleRows))
    const senderRows = senders.map(each => [each.name, formatCount(each.count)])
    lines.push('', ...formatTable([`senders ${word}`, 'messages'], senderRows))
  }
  return lines
}
