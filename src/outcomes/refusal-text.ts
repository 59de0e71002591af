import type { Decision } from '../core/decision.ts'
import { checkWithPathPrefix, policyError } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { isNonEmptyString, type Sender } from '../core/message.ts'
import { fillTemplate, parseTextTemplate, placeholdersOf } from '../core/text-template.ts'
import type { RefusalWords, RuleInfo, SenderKind } from './rule-info.ts'

export const SENDER_KINDS: readonly SenderKind[] = ['user', 'device', 'api', 'anonymous']

const DEFAULT_TEXTS: Readonly<Record<SenderKind, string>> = {
  user: 'Too many messages: {limit} per {window} are allowed. Try again in {retry}; sending less often avoids this.',
  device: '{reason}: {limit} {unit} per {window}, {remaining} left; retry in {retry}.',
  api: 'Limit "{rule}" exceeded ({reason}): {limit} {unit} per {window}, {remaining} left, whole again in {reset}. Retry in {retry}, and slow down to the limit or ask for a higher one.',
  anonymous:
    'Too many messages from unknown senders. Try again in {retry}, or sign in for a limit of your own.',
}

const DEFAULT_WITHOUT_RULE = 'Refused ({reason}). Try again in {retry}.'
const DEFAULT_TOO_LARGE = 'Refused: the message is too large. At most {limit} bytes are allowed.'
const DEFAULT_NEVER = 'Refused ({reason}): it is larger than the limit ever allows. Send less at once.'

const PLACEHOLDERS: readonly string[] = [
  'rule',
  'limit',
  'unit',
  'window',
  'remaining',
  'reset',
  'retry',
  'reason',
  'client',
]

/** Checks the refusal text of a rule. Throws PolicyError at `path`. */
export function checkRefusalText(message: RefusalWords | undefined, path: string): void {
  if (message === undefined || typeof message === 'function') return
  if (typeof message === 'string') {
    const unknown = placeholdersOf(parseTextTemplate(message, path)).find(
      name => !PLACEHOLDERS.includes(name),
    )
    if (unknown === undefined) return
    const known = PLACEHOLDERS.map(name => `{${name}}`).join(', ')
    throw policyError(path, `{${unknown}} is not a placeholder of a refusal`, `use ${known}`)
  }
  for (const [kind, text] of Object.entries(message)) {
    if (!SENDER_KINDS.includes(kind as SenderKind))
      throw policyError(
        `${path}.${kind}`,
        `"${kind}" is not a kind of sender`,
        `use ${SENDER_KINDS.join(', ')}`,
      )
    checkWithPathPrefix(path, () => checkRefusalText(text, kind))
  }
}

/** Returns the kind of a sender. */
export function senderKind(sender: Sender): SenderKind {
  if (isNonEmptyString(sender.apiKey)) return 'api'
  if (isNonEmptyString(sender.device)) return 'device'
  if (isNonEmptyString(sender.user)) return 'user'
  return isNonEmptyString(sender.client) ? 'device' : 'anonymous'
}

/**
 * Returns a one-line refusal for a sender: the rule's own text, else the default for its kind. It contains the rule's
 * numbers and the sender's own client id, but nothing of other senders. At most `MAX_SIZES.refusalChars` characters,
 * without control characters. Ignores a function that throws or returns no text. Never throws.
 */
export function refusalText(decision: Decision, sender: Sender, ruleInfo?: RuleInfo): string {
  const own = ownText(ruleInfo?.message)
  const text = own ?? fillText(defaultText(decision, sender, ruleInfo), decision, sender, ruleInfo)
  return text.slice(0, MAX_SIZES.refusalChars).replace(/[\p{Cc}\p{Cs}]/gu, ' ')

  function ownText(message: RefusalWords | undefined): string | undefined {
    if (message === undefined) return undefined
    if (typeof message !== 'function') {
      const chosen = typeof message === 'string' ? message : message[senderKind(sender)]
      return chosen === undefined ? undefined : fillText(chosen, decision, sender, ruleInfo)
    }
    try {
      const answer: unknown = message(decision, sender)
      return typeof answer === 'string' ? answer : undefined
    } catch {
      return undefined
    }
  }
}

function defaultText(decision: Decision, sender: Sender, ruleInfo: RuleInfo | undefined): string {
  if (decision.reason === 'too_large') return DEFAULT_TOO_LARGE
  if (decision.retryAfterMs === Infinity) return DEFAULT_NEVER
  return ruleInfo === undefined ? DEFAULT_WITHOUT_RULE : DEFAULT_TEXTS[senderKind(sender)]
}

function fillText(
  template: string,
  decision: Decision,
  sender: Sender,
  ruleInfo: RuleInfo | undefined,
): string {
  const values: Readonly<Record<string, string>> = {
    rule: decision.rule ?? '',
    limit: String(ruleInfo?.count ?? decision.limit ?? ''),
    unit: ruleInfo?.unit ?? 'messages',
    window: ruleInfo === undefined ? '' : describeMs(ruleInfo.periodMs),
    remaining: String(decision.remaining ?? 0),
    reset: describeMs(decision.resetMs ?? decision.retryAfterMs),
    retry: describeMs(decision.retryAfterMs),
    reason: decision.reason.replaceAll('_', ' '),
    client: (sender.client ?? '').slice(0, MAX_SIZES.keyPartChars),
  }
  return fillTemplate(parseTextTemplate(template, 'message'), name => values[name] ?? '')
}

/** Formats a duration, rounded up: `250 ms`, `30 s`, `5 min`, `2 h`, `3 d`. */
function describeMs(ms: number): string {
  if (ms === Infinity) return 'never'
  if (ms < 1_000) return `${Math.ceil(ms)} ms`
  if (ms < 120_000) return `${Math.ceil(ms / 1_000)} s`
  if (ms < 7_200_000) return `${Math.ceil(ms / 60_000)} min`
  if (ms < 172_800_000) return `${Math.ceil(ms / 3_600_000)} h`
  return `${Math.ceil(ms / 86_400_000)} d`
}
