import { PolicyError, policyError } from '../../core/errors.ts'
import { keyPosition } from '../../core/key-position.ts'
import { parsePercent, quote } from '../../core/units.ts'
import { createKeyMaker, type KeyInputs, type KeyMaker } from './key-scope.ts'
import type { Scope } from './rule-options.ts'

/** Senders for which a rule is in shadow, if not all or none: those whose key has a position below the share. */
export interface PartialShadow {
  /** Above 0 and below 1. */
  readonly share: number
  readonly keys: KeyMaker
}

/** The part of a rule that says whether it refuses. */
export interface Shadow {
  /** True if the rule refuses nothing: for all senders, or for those of the plan that it is in. */
  readonly shadow: boolean
  readonly partialShadow?: PartialShadow | undefined
}

/** Scopes that many senders share, or that change from message to message. */
const SHARED_SCOPES: ReadonlySet<string> = new Set(['global', 'topic', 'pattern', 'role', 'tier'])
const SENDER: Scope = 'client|user|device|apiKey|ip'

/**
 * Compiles `shadow` of a rule that counts per `per`. The share is one of senders: of the parts of `per` that name a
 * sender, else of clients. Throws PolicyError.
 */
export function compileShadow(
  shadow: boolean | string | undefined,
  per: Scope | readonly Scope[] | undefined,
): Shadow {
  const share = readShare(shadow)
  if (share === 0 || share === 1) return { shadow: share === 1 }
  const scopes = per === undefined ? [] : typeof per === 'string' ? [per] : per
  const ofSender = scopes.filter(scope => !SHARED_SCOPES.has(scope) && !scope.includes('header.'))
  return {
    shadow: true,
    partialShadow: { share, keys: createKeyMaker(ofSender.length > 0 ? ofSender : SENDER) },
  }
}

/** Returns the share of senders for which a rule is in shadow, 0 to 1. */
export function shadowShareOf({ shadow, partialShadow }: Shadow): number {
  return partialShadow?.share ?? (shadow ? 1 : 0)
}

/** Returns true if a rule that is in shadow for a share of the senders refuses messages of this one. */
export function isEnforced({ share, keys }: PartialShadow, source: KeyInputs): boolean {
  return keyPosition(keys.keyOf(source)) >= share
}

function readShare(shadow: unknown = false): number {
  if (typeof shadow === 'boolean') return shadow ? 1 : 0
  try {
    if (typeof shadow === 'string') return parsePercent(shadow)
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
  }
  const remedy = 'write true or false, without quotes, or a share of the senders, as 90%'
  throw policyError('shadow', `${quote(shadow)} is not true, false or a percentage`, remedy)
}
