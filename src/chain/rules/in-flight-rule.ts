import { checkWord, policyError } from '../../core/errors.ts'
import { checkOptionNames, type KnownOptions } from '../../core/option-names.ts'
import type { HandlerFeedbackMeta } from './handler-feedback-types.ts'
import { InFlightLimit, type InFlightOutcome } from './in-flight-slots.ts'
import { createKeyMaker } from './key-scope.ts'
import type { InFlightOptions } from './rule-options.ts'

const OUTCOMES: readonly InFlightOutcome[] = ['throttle', 'retry', 'drop', 'reject']

const OPTIONS: KnownOptions<InFlightOptions> = {
  name: true,
  description: true,
  inFlight: true,
  on: true,
  cost: true,
  per: true,
  exceeded: true,
  enabled: true,
  dialect: true,
}

/** Metadata of a limit of concurrent handlers. */
export interface InFlightMiddlewareMeta extends HandlerFeedbackMeta {
  readonly limit: InFlightLimit
}

/** Compiles a limit of concurrent handlers, which consumers and `gate.run` enforce. Throws PolicyError. */
export function compileInFlightRule(options: InFlightOptions): InFlightMiddlewareMeta {
  const { name, inFlight, per, exceeded = 'throttle', enabled = true } = options
  if (typeof name !== 'string' || name === '')
    throw policyError('name', 'a rule needs a name', 'its refusals contain it: give each rule its own')
  if (!(Number.isSafeInteger(inFlight) && inFlight >= 1))
    throw policyError('inFlight', `${String(inFlight)} is not a whole number from 1`, 'write inFlight: 5')
  for (const word of ['limit', 'rate', 'cost', 'burst', 'algorithm'])
    if ((options as unknown as Readonly<Record<string, unknown>>)[word] !== undefined)
      throw policyError(
        word,
        '`inFlight` limits concurrent handlers and does not support it',
        'write two rules: every matching rule is applied',
      )
  checkOptionNames(options, OPTIONS)
  checkWord(options.on ?? 'publish', ['publish'], 'on', 'action of handlers')
  if (!OUTCOMES.includes(exceeded))
    throw policyError(
      'exceeded',
      `${JSON.stringify(exceeded)} is not possible here`,
      `use one of ${OUTCOMES.join(', ')}`,
    )
  const stateKey = JSON.stringify(['inFlight', name, per])
  const max = enabled ? inFlight : Infinity
  const limit = new InFlightLimit(name, max, createKeyMaker(per), exceeded, stateKey)
  return {
    kind: 'handler',
    name,
    enabled: true,
    priority: 0,
    outcome: exceeded,
    limit,
    state: limit.state,
    observe() {},
    refusal: () => undefined,
    describe: () => `passes: at most ${limit.max} concurrent handlers per ${String(per ?? 'global')}`,
    attach() {},
  }
}
