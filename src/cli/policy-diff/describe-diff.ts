import { formatCount, formatShare, formatTable, printable } from '../format.ts'
import type { Paint } from '../terminal.ts'
import type { ChangedWord, PolicyChange } from './compare-policies.ts'
import { DECISION_CHANGES, type DecisionChanges } from './decision-changes.ts'

/** Formats the differences of two policies, one a line. */
export function describePolicyChanges(changes: readonly PolicyChange[], paint: Paint): readonly string[] {
  if (changes.length === 0) return ['no differences']
  return changes.map(change => describePolicyChange(change, paint))
}

function describePolicyChange({ kind, what, name, newName, words }: PolicyChange, paint: Paint): string {
  const subject = what === 'policy' ? '' : `${what} ${printable(name)}: `
  if (kind === 'new') return `${paint('green', '+')} ${subject}new: ${words.map(describeValue).join(', ')}`
  if (kind === 'gone') return `${paint('red', '-')} ${subject}gone`
  if (kind === 'moved')
    return `${paint('yellow', '~')} ${what}s are in another order, from ${printable(name)} on`
  if (kind === 'renamed') {
    const counts = what === 'rule' ? '; it starts with new counts' : ''
    return `${paint('yellow', '~')} ${subject}now called ${printable(newName ?? '')}${counts}`
  }
  return `${paint('yellow', '~')} ${subject}${words.map(describeWord).join(', ')}`
}

function describeWord({ word, old, new: now }: ChangedWord): string {
  return `${word} ${formatValue(old)} → ${formatValue(now)}`
}

function describeValue({ word, new: now }: ChangedWord): string {
  return `${word} ${formatValue(now)}`
}

function formatValue(value: unknown): string {
  if (value === undefined) return 'none'
  return printable(typeof value === 'string' ? value : JSON.stringify(value), 200)
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
    `${formatCount(messages)} messages: ${[...counts, `${formatCount(same)} the same`].join(', ')}`,
  ]
  if (inShadow.old + inShadow.new > 0) {
    const shadowed = `${formatCount(inShadow.old)} → ${formatCount(inShadow.new)}`
    lines.push(`rules in shadow would refuse: ${shadowed} messages`)
  }
  for (const { word, count, rules, senders } of kinds) {
    if (count === 0) continue
    const ruleRows = rules.map(each => [
      printable(each.rule),
      formatCount(each.count),
      each.lines.map(formatCount).join(' '),
    ])
    lines.push('', ...formatTable([`${word} by rule`, 'messages', 'first lines'], ruleRows))
    const senderRows = senders.map(each => [each.name, formatCount(each.count)])
    lines.push('', ...formatTable([`senders ${word}`, 'messages'], senderRows))
  }
  return lines
}
