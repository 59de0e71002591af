import { HeavyHitters } from '../../analytics/heavy-hitters.ts'
import { type Decision, OUTCOMES, type Outcome } from '../../core/decision.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { isNonEmptyString, type Message, type Sender } from '../../core/message.ts'
import {
  formatCount,
  formatNumberOf,
  formatShare,
  formatTable,
  formatWait,
  sanitizeForTerminal,
} from '../terminal/format.ts'

const WORST_SHOWN = 10

/** Maximum characters of a sender's name. */
const NAME_CHARS = 64

interface Row {
  allowed: number
  /** Refusals by outcome; `degrade` is allowed and also counted here. */
  readonly outcomes: Map<Outcome, number>
  /** Refusals by a rule in shadow mode. */
  shadowed: number
}

/** Totals of a replay by rule and sender, of bounded size. */
export class ReplayTotals {
  readonly #rows = new Map<string, Row>()
  readonly #worst = new HeavyHitters(MAX_SIZES.countedSenders)
  readonly #rules: readonly string[]
  readonly #isInShadow: (rule: string) => boolean
  #messages = 0
  #allowed = 0
  #firstMs = Infinity
  #lastMs = -Infinity

  /** `rules` in the order they are listed. */
  constructor(rules: readonly string[], isInShadow: (rule: string) => boolean = () => false) {
    // Limits of exemptions are counted with their exemption.
    this.#rules = rules.filter(rule => !rule.startsWith('exempt:'))
    this.#isInShadow = isInShadow
  }

  get messages(): number {
    return this.#messages
  }

  recordDecision(atMs: number, { sender }: Message, decision: Decision): void {
    this.#messages++
    this.#firstMs = Math.min(this.#firstMs, atMs)
    this.#lastMs = Math.max(this.#lastMs, atMs)
    const { allowed, outcome, rule, reason, exemption, shadow } = decision
    const row = this.#row(rule ?? (reason === 'exempt' ? `exempt: ${exemption ?? '(unnamed)'}` : '(no rule)'))
    if (outcome !== 'deliver') row.outcomes.set(outcome, (row.outcomes.get(outcome) ?? 0) + 1)
    if (allowed) {
      this.#allowed++
      row.allowed++
    } else this.#worst.add(nameSender(sender), 1)
    if (shadow !== undefined) for (const name of shadow) this.#row(name).shadowed++
  }

  /** Formats the totals as tables. */
  describe(): readonly string[] {
    const refused = this.#messages - this.#allowed
    const lines = [
      this.#messages === 0
        ? 'no messages'
        : `${formatNumberOf(this.#messages, 'message')} over ${formatWait(this.#lastMs - this.#firstMs)}: ` +
          `${formatCount(this.#allowed)} allowed, ${formatCount(refused)} refused ` +
          `(${formatShare(refused, this.#messages)})`,
    ]
    if (this.#messages === 0) return lines
    lines.push('', ...this.#describeRules())
    const worst = this.#worst.top(WORST_SHOWN)
    if (worst.length > 0) {
      const rows = worst.map(({ name, count }) => [name, formatCount(count)])
      lines.push('', ...formatTable(['worst senders', 'refused'], rows))
      const { error } = this.#worst
      if (error > 0)
        lines.push(`(with very many senders, counts may be up to ${formatCount(error)} too high)`)
    }
    return lines
  }

  #describeRules(): readonly string[] {
    const rows = [...this.#rows.values()]
    const outcomes = OUTCOMES.filter(outcome => rows.some(row => row.outcomes.has(outcome)))
    const shadowed = rows.some(row => row.shadowed > 0)
    const head = ['rule', 'allowed', ...outcomes, ...(shadowed ? ['in shadow'] : [])]
    const met = this.#rules.filter(name => this.#rows.has(name))
    const others = [...this.#rows.keys()].filter(name => !this.#rules.includes(name)).sort()
    const table = [...met, ...others].map(name => {
      const row = this.#rows.get(name)!
      const counts = [row.allowed, ...outcomes.map(outcome => row.outcomes.get(outcome) ?? 0)]
      return [sanitizeForTerminal(name), ...[...counts, ...(shadowed ? [row.shadowed] : [])].map(showCount)]
    })
    return [...formatTable(head, table), ...this.#describeUnmet()]
  }

  /** Names how many rules are not in the table. A message that a rule in shadow lets pass does not name it. */
  #describeUnmet(): readonly string[] {
    const unmet = this.#rules.filter(name => !this.#rows.has(name))
    const inShadow = unmet.filter(this.#isInShadow).length
    const others = unmet.length - inShadow
    const lines = [
      ...(others > 0 ? [`${formatNumberOf(others, 'rule')} decided no message`] : []),
      ...(inShadow > 0 ? [`${formatNumberOf(inShadow, 'rule')} in shadow would refuse no message`] : []),
    ]
    return lines.length > 0 ? ['', ...lines] : []
  }

  #row(name: string): Row {
    let row = this.#rows.get(name)
    if (row === undefined) {
      row = { allowed: 0, outcomes: new Map(), shadowed: 0 }
      this.#rows.set(name, row)
    }
    return row
  }
}

function showCount(count: number): string {
  return count === 0 ? '-' : formatCount(count)
}

/** Names a sender by its first known part; never shows an API key. */
export function nameSender({ device, client, user, ip, apiKey }: Sender): string {
  const [kind, name] = isNonEmptyString(device)
    ? ['device', device]
    : isNonEmptyString(client)
      ? ['client', client]
      : isNonEmptyString(user)
        ? ['user', user]
        : ['ip', ip]
  if (isNonEmptyString(name)) return `${kind} ${sanitizeForTerminal(name, NAME_CHARS)}`
  return isNonEmptyString(apiKey) ? 'api key ***' : '(unnamed)'
}
