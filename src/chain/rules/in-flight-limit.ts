import type { Clock } from '../../core/clock.ts'
import { checkWord, policyError } from '../../core/errors.ts'
import { checkOptionNames, type OptionNames } from '../../core/option-names.ts'
import type { HandlerMeta } from './handler-feedback.ts'
import { InFlightBound, type InFlightOutcome } from './in-flight.ts'
import { compileScopes } from './key-scope.ts'
import type { InFlightOptions } from './rule-options.ts'

const OUTCOMES: readonly InFlightOutcome[] = ['throttle', 'retry', 'drop', 'reject']

const OPTIONS: OptionNames<InFlightOptions> = {
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
export interface InFlightMeta extends HandlerMeta {
  readonly bound: InFlightBound
}

/** Compiles a limit of concurrent handlers, which consumers and `gate.run` enforce. Throws PolicyError. */
export function inFlightMeta(options: InFlightOptions): InFlightMeta {
  const { name, inFlight, per, exceeded = 'throttle', enabled = true } = options
  if (typeof name !== 'string' || name === '')
    throw policyError('name', 'a rule needs a name', 'its refusals go by it: give each rule its own')
  if (!(Number.isSafeInteger(inFlight) && inFlight >= 1))
    throw policyError('inFlight', `${String(inFlight)} is not a whole number from 1`, 'write inFlight: 5')
  for (const word of ['limit', 'rate', 'cost', 'burst', 'algorithm'])
    if ((options as unknown as Readonly<Record<string, unknown>>)[word] !== undefined)
      throw policyError(
        word,
        '`inFlight` counts handlers at work and has none',
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
  const bound = new InFlightBound(name, enabled ? inFlight : Infinity, compileScopes(per), exceeded)
  const says = JSON.stringify([name, per])
  const meta: InFlightMeta & { readonly says: string } = {
    ...{ kind: 'handler', name, enabled: true, priority: 0, outcome: exceeded, bound, says },
    observe() {},
    refusal: () => undefined,
    describe: () => `passes: at most ${bound.most} handlers at work per ${String(per ?? 'global')}`,
    attach(_host: { readonly clock: Clock }) {},
    inherit(other) {
      const before = other as Partial<typeof meta>
      if (before.says !== says || before.bound === undefined) return false
      bound.inherit(before.bound)
      return true
    },
  }
  return meta
}
