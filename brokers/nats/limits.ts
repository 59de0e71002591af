import type { Decision } from '../../src/decision.ts'
import { rateLimitFields } from '../../src/index.ts'
import type { RuleBook } from '../../src/outcomes/rule-facts.ts'

/** What a handler is told of the limits its message has passed. One is made for each, so its fields are plain. */
export class MessageLimits {
  declare readonly decision: Decision
  declare private readonly book: RuleBook
  declare private readonly legacy: boolean

  constructor(decision: Decision, book: RuleBook, legacy: boolean) {
    this.decision = decision
    this.book = book
    this.legacy = legacy
  }

  /** `RateLimit`, `RateLimit-Policy` and, where asked for, `X-RateLimit-*`; made when asked for. */
  get fields(): Readonly<Record<string, string>> {
    const { rule } = this.decision
    const facts = rule === undefined ? undefined : this.book.ruleOf?.(rule)
    return rateLimitFields(this.decision, facts, { legacy: this.legacy })
  }
}
