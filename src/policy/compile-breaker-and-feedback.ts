import {
  type AimdOptions,
  aimd,
  circuitBreaker,
  type FeedbackLimiterOptions,
  gradient,
  type HandlerBreakerOptions,
} from '../adaptive/index.ts'
import type { Middleware } from '../chain/middleware-types.ts'
import { createKeyMaker } from '../chain/rules/key-scope.ts'
import type { SenderResolver } from '../chain/senders/sender-identity-templates.ts'
import { policyError } from '../core/errors.ts'
import type { Dialect, Message } from '../core/message.ts'
import { parseDuration, parsePercent, parseRate } from '../core/units.ts'
import { captureLevels, type Pattern, parsePattern } from '../topic/pattern.ts'
import {
  createCollectingProblems,
  prefixPaths,
  type ReportProblem,
  tryOrReport,
} from './collect-compile-problems.ts'
import { checkScopes } from './compile-rule.ts'
import type { MiddlewareEntry } from './compiled-policy-types.ts'
import type { PolicyDocument } from './schema.ts'

/** Option names of the middleware and their words in a policy. */
const OPTION_WORDS: Readonly<Record<string, string>> = {
  minPerSecond: 'from',
  maxPerSecond: 'upTo',
  startPerSecond: 'start',
  everyMs: 'every',
  latencyMs: 'latency',
  windowMs: 'over',
  openMs: 'open',
}

/** Compiles `breaker` and `feedback`, which run before the rules. */
export function compileBreakerAndFeedback(
  document: Partial<PolicyDocument>,
  dialect: Dialect,
  identity: SenderResolver | undefined,
  report: ReportProblem,
): readonly MiddlewareEntry[] {
  const { breaker, feedback, rules } = document
  for (const option of ['breaker', 'feedback'] as const) {
    const index = rules?.findIndex(({ name }) => name === option) ?? -1
    if (document[option] === undefined || index < 0) continue
    const message = `a rule cannot be named "${option}" in a policy with \`${option}\`, whose refusals have that name`
    report({ path: `rules[${index}].name`, message, remedy: 'give the rule another name' })
  }
  return [
    ...(breaker === undefined
      ? []
      : compileBreaker(breaker, dialect, identity, prefixPaths(report, 'breaker'))),
    ...(feedback === undefined ? [] : compileFeedback(feedback, dialect, prefixPaths(report, 'feedback'))),
  ]
}

type Feedback = NonNullable<PolicyDocument['feedback']>
type Breaker = NonNullable<PolicyDocument['breaker']>

function compileFeedback(
  feedback: Feedback,
  dialect: Dialect,
  report: ReportProblem,
): readonly MiddlewareEntry[] {
  const { by = 'aimd', latency, from, upTo, start, every, exceeded } = feedback
  const pattern = patternOf(feedback.topic, dialect, report)
  const options = defined({
    minPerSecond: read(from, 'from', perSecond, report),
    maxPerSecond: read(upTo, 'upTo', perSecond, report),
    startPerSecond: read(start, 'start', perSecond, report),
    latencyMs: read(latency, 'latency', parseDuration, report),
    everyMs: read(every, 'every', parseDuration, report),
    exceeded,
  }) as FeedbackLimiterOptions & AimdOptions
  const make = by === 'aimd' ? aimd : gradient
  return entryOf(
    pattern,
    createCollectingProblems(given => make(given).admit, options, {}, renamed(report)),
  )
}

function compileBreaker(
  breaker: Breaker,
  dialect: Dialect,
  identity: SenderResolver | undefined,
  report: ReportProblem,
): readonly MiddlewareEntry[] {
  const { per = 'topic', failures, over, least, open, exceeded } = breaker
  const pattern = patternOf(breaker.topic, dialect, report)
  checkScopes(per, pattern?.captures.map(({ name }) => name) ?? [], report)
  const keys = createKeyMaker(per)
  const keyOf = (message: Message): string => {
    const captures = pattern === undefined ? new Map() : captureLevels(pattern, message.topic)
    const sender = identity?.resolve(message, captures) ?? message.sender
    return keys.keyOf({ message, sender, pattern: pattern?.text ?? '', captures })
  }
  const options = defined({
    failures: read(failures, 'failures', parsePercent, report),
    windowMs: read(over, 'over', parseDuration, report),
    openMs: read(open, 'open', parseDuration, report),
    least,
    exceeded,
    keyOf,
  }) as HandlerBreakerOptions
  const stateKey = JSON.stringify(breaker)
  return entryOf(
    pattern,
    createCollectingProblems(given => circuitBreaker(given, stateKey).guard, options, {}, renamed(report)),
  )
}

function entryOf(
  pattern: Pattern | undefined,
  middleware: Middleware | undefined,
): readonly MiddlewareEntry[] {
  return middleware === undefined ? [] : [{ pattern, middleware }]
}

function patternOf(topic: string | undefined, dialect: Dialect, report: ReportProblem): Pattern | undefined {
  return topic === undefined ? undefined : tryOrReport(() => parsePattern(topic, dialect, 'topic'), report)
}

function perSecond(text: string): number {
  const rate = parseRate(text)
  if (rate.count === Infinity || rate.burst !== undefined || rate.bytes || rate.per !== undefined)
    throw policyError('', `"${text}" is not a plain rate of messages`, 'write it as 100/s')
  return (rate.count * 1000) / rate.periodMs
}

function read<T>(
  text: string | undefined,
  path: string,
  parse: (text: string) => T,
  report: ReportProblem,
): T | undefined {
  return text === undefined
    ? undefined
    : tryOrReport(
        () => parse(text),
        problem => report({ ...problem, path }),
      )
}

function renamed(report: ReportProblem): ReportProblem {
  return problem => {
    const path = problem.path ?? ''
    report({ ...problem, path: OPTION_WORDS[path] ?? path, remedy: problem.remedy ?? 'correct it' })
  }
}

function defined(options: object): object {
  return Object.fromEntries(Object.entries(options).filter(([, value]) => value !== undefined))
}
