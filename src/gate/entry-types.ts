import type { Middleware } from '../chain/middleware-types.ts'
import type { Rule } from '../chain/rules/create-limit-middleware.ts'
import { EXEMPT_OPTIONS, exempt } from '../chain/rules/exemption.ts'
import { checkOverrideForRule, type Override, parseOverrideEffect } from '../chain/rules/rate-override.ts'
import type { ExemptOptions } from '../chain/rules/rule-options.ts'
import type { EntryAge } from '../chain/rules/runtime-entry-order.ts'
import type { SenderRuntimeSettings } from '../chain/senders/sender-runtime-settings.ts'
import {
  parseSenderSelector,
  SENDER_PARTS,
  type SenderIdentifier,
  type SenderSelector,
} from '../chain/senders/sender-selector.ts'
import { checkWithPathPrefix, policyError } from '../core/errors.ts'
import { checkOptionNames, type KnownOptions, pickOptions } from '../core/option-names.ts'
import type { RuntimeEntryType } from './runtime-list.ts'

/** Options of a ban: the banned client, user, device, API key or address. */
export type BanOptions = SenderSelector & {
  /** Outcome of their messages. Default: reject. */
  readonly outcome?: 'drop' | 'reject' | 'disconnect' | undefined
}

/** Options of a temporary override of limits. */
export type OverrideOptions = SenderSelector & {
  /** `unlimited`, `x5`, or a rate such as `100/s burst 200`. */
  readonly limit: string
  /** Rules that it applies to. Rules of tiers are named `tier:free`. Default: all. */
  readonly rules?: readonly string[] | undefined
}

/** Options of a tier assignment. */
export type TierAssignmentOptions = SenderSelector & { readonly tier: string }

/** An exemption as in a policy. Its name is its id. */
export type RuntimeExemption = ExemptOptions & { readonly name: string }

const OUTCOMES = ['drop', 'reject', 'disconnect'] as const

const SUBJECT: KnownOptions<SenderSelector> = {
  client: true,
  user: true,
  device: true,
  apiKey: true,
  ip: true,
}
const BAN: KnownOptions<BanOptions> = { ...SUBJECT, outcome: true }

const OVERRIDE: KnownOptions<OverrideOptions> = { ...SUBJECT, limit: true, rules: true }

const TIER: KnownOptions<TierAssignmentOptions> = { ...SUBJECT, tier: true }

/** Returns the entry type of bans. */
export function banEntryType(senderSettings: SenderRuntimeSettings): RuntimeEntryType<BanOptions> {
  return {
    kind: 'ban',
    parse(options) {
      checkOptionNames(options, BAN)
      const { outcome = 'reject', ...subject } = options
      if (!OUTCOMES.includes(outcome)) {
        throw policyError(
          'outcome',
          `${JSON.stringify(outcome)} is not an outcome of a ban`,
          `use one of ${OUTCOMES.join(', ')}`,
        )
      }
      const subjectKey = subjectKeyOf(subject)
      return { id: subjectId(subjectKey), given: { [subjectKey.part]: subjectKey.text, outcome } }
    },
    apply({ outcome = 'reject', ...rest }, { id, reason, expiresAtMs }) {
      const subjectKey = subjectKeyOf(rest)
      const ban = { id, reason, outcome, expiresAtMs }
      senderSettings.bans.add(subjectKey, ban)
      return () => senderSettings.bans.remove(subjectKey, ban)
    },
  }
}

/** Returns the entry type of overrides. `rules` returns the current rules, in the unit in which they are counted. */
export function overrideEntryType(
  senderSettings: SenderRuntimeSettings,
  rules: () => readonly Rule[],
): RuntimeEntryType<OverrideOptions> {
  let serial = 0
  return {
    kind: 'override',
    parse(options) {
      checkOptionNames(options, OVERRIDE)
      const { limit, rules: names, ...subject } = options
      const subjectKey = subjectKeyOf(subject)
      const effect = checkWithPathPrefix('limit', () => parseOverrideEffect(limit))
      const known = rules()
      for (const name of names ?? []) {
        if (known.some(rule => rule.name === name)) continue
        const some = known.slice(0, 20).map(rule => rule.name)
        const remedy = `use some of ${some.join(', ')}`
        throw policyError('rules', `there is no rule ${JSON.stringify(String(name).slice(0, 60))}`, remedy)
      }
      const isNamed = names !== undefined
      for (const rule of known) {
        if (names?.includes(rule.name) === false) continue
        checkWithPathPrefix('limit', () => checkOverrideForRule(rule, effect, isNamed))
      }
      const id =
        names === undefined
          ? subjectId(subjectKey)
          : `${subjectId(subjectKey)} ${[...names].sort().join(',')}`
      return {
        id,
        given: {
          [subjectKey.part]: subjectKey.text,
          limit,
          rules: names,
        } as OverrideOptions,
      }
    },
    apply({ limit, rules: names, ...rest }, entry) {
      const subjectKey = subjectKeyOf(rest)
      const { id, addedAtMs, sequence = 0 } = entry
      const override: Override = {
        id,
        addedAtMs,
        sequence,
        serial: ++serial,
        effect: parseOverrideEffect(limit),
        kind: `${limit}\n${names?.join('\n') ?? ''}`,
        rules: names === undefined ? undefined : new Set(names),
      }
      senderSettings.overrides.add(subjectKey, override)
      return () => senderSettings.overrides.remove(subjectKey, override)
    },
  }
}

/** Returns the entry type of tiers assigned at run time. */
export function tierEntryType(
  senderSettings: SenderRuntimeSettings,
): RuntimeEntryType<TierAssignmentOptions> {
  return {
    kind: 'tier',
    parse(options) {
      checkOptionNames(options, TIER)
      const { tier, ...subject } = options
      const subjectKey = subjectKeyOf(subject)
      const known = [...(senderSettings.tiers?.byName.keys() ?? [])]
      if (!known.includes(tier)) {
        const remedy =
          known.length > 0
            ? `use one of ${known.slice(0, 20).join(', ')}`
            : 'give the gate or its policy tiers'
        throw policyError('tier', `there is no tier ${JSON.stringify(tier)}`, remedy)
      }
      return { id: subjectId(subjectKey), given: { [subjectKey.part]: subjectKey.text, tier } }
    },
    apply({ tier, ...rest }, { id, addedAtMs, sequence = 0 }) {
      const subjectKey = subjectKeyOf(rest)
      const assigned = { id, tier, addedAtMs, sequence }
      senderSettings.assignedTiers.add(subjectKey, assigned)
      return () => senderSettings.assignedTiers.remove(subjectKey, assigned)
    },
  }
}

/** An exemption added at run time. */
export interface AddedExemption extends EntryAge {
  readonly middleware: Middleware
}

/**
 * Returns the entry type of runtime exemptions, which precede those of the policy. `rebuild` throws if the
 * chain is invalid.
 */
export function exemptionEntryType(
  exemptions: Map<string, AddedExemption>,
  rebuild: () => void,
): RuntimeEntryType<RuntimeExemption> {
  return {
    kind: 'exemption',
    parse(given) {
      if (typeof given.name !== 'string' || given.name === '') {
        throw policyError(
          'name',
          'a runtime exemption needs a name',
          'give it one: it is listed and removed by its name',
        )
      }
      const { topics, clients, devices, users, apiKeys, roles, ips, when } = given
      if (
        [topics, clients, devices, users, apiKeys, roles, ips, when].every(
          restriction => restriction === undefined,
        )
      ) {
        throw policyError(
          '',
          'the exemption would let everything pass',
          'name the senders or topics, as in clients: [c1]',
        )
      }
      exempt(given)
      return { id: given.name, given }
    },
    apply(given, { addedAtMs, sequence = 0 }) {
      const middleware = exempt(pickOptions(given as ExemptOptions, EXEMPT_OPTIONS))
      exemptions.set(given.name, { middleware, addedAtMs, sequence })
      const revert = (): void => {
        exemptions.delete(given.name)
        rebuild()
      }
      try {
        rebuild()
      } catch (error) {
        revert()
        throw error
      }
      return revert
    },
  }
}

/** Returns the subject named in options or in an entry. */
function subjectKeyOf(given: SenderSelector & object): SenderIdentifier {
  return parseSenderSelector(Object.fromEntries(SENDER_PARTS.map(part => [part, given[part]])))
}

function subjectId({ part, text }: SenderIdentifier): string {
  return `${part}:${text}`
}
