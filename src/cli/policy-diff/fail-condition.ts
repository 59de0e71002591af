import { InvalidArgumentError } from 'commander'
import { PolicyError } from '../../core/errors.ts'
import {
  type Comparison,
  isSatisfied,
  parseCountComparison,
  parseShareComparison,
} from '../documents/comparison.ts'
import { DECISION_CHANGES, type DecisionChange, type DecisionChanges } from './decision-changes.ts'

/** A condition under which the command fails, such as `newly-refused > 0.1%`. */
export interface FailCondition {
  /** As it was written. */
  readonly text: string
  readonly change: DecisionChange
  /** Compares a share of all messages instead of a count. */
  readonly isShare: boolean
  readonly comparison: Comparison
}

/** Parses a condition and adds it to those before. Throws InvalidArgumentError. */
export function appendFailCondition(
  text: string,
  before: readonly FailCondition[] = [],
): readonly FailCondition[] {
  const [, word = '', written = ''] = /^\s*([a-z-]+?)\s*([<>=].*)$/s.exec(text) ?? []
  const change = DECISION_CHANGES.find(each => each === word)
  const isShare = written.trimEnd().endsWith('%')
  try {
    if (change !== undefined) {
      const comparison = isShare ? parseShareComparison(written) : parseCountComparison(written)
      return [...before, { text, change, isShare, comparison }]
    }
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
  }
  throw new InvalidArgumentError(
    `Write "newly-refused > 0.1%" or "newly-allowed > 100", with one of ${DECISION_CHANGES.join(', ')}.`,
  )
}

/** Returns true if the condition holds, so that the command fails. */
export function isMet({ change, isShare, comparison }: FailCondition, changes: DecisionChanges): boolean {
  const { count } = changes.totals(change)
  if (!isShare) return isSatisfied(comparison, count)
  return isSatisfied(comparison, changes.messages === 0 ? 0 : count / changes.messages)
}
