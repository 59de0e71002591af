import { isSecretHeader } from '../conditions/secret-text.ts'

const HIDDEN = '***'

/**
 * Returns a copy of a policy document without secrets, for logs and terminals. Secrets, API keys, passwords in URLs and
 * values compared with secret headers are replaced by `***`.
 */
export function redact(document: unknown): unknown {
  return hide(document, '')
}

/** Returns true if a secret of a document is `***`: the document was read where secrets are hidden. */
export function hasHiddenSecret(document: unknown): boolean {
  return countHidden(document) > countHidden(hide(document, '', ''))
}

/**
 * Returns the fields with the secrets of an earlier version, from which they were read: a field that equals the earlier
 * one without its secrets is replaced by it.
 */
export function restoreSecrets<T extends object>(fields: T, earlier: object): T {
  const secrets = new Map<string, unknown>(Object.entries(earlier))
  const restored = Object.entries(fields).map(([name, value]) => {
    const secret = secrets.get(name)
    return [name, JSON.stringify(hide(secret, name)) === JSON.stringify(value) ? secret : value]
  })
  return Object.fromEntries(restored) as T
}

function countHidden(document: unknown): number {
  return (JSON.stringify(document) ?? '').split(HIDDEN).length
}

/** Matches the JSON of everything that `redact` may change, and of more. */
const MAY_CHANGE = /secret|apiKeys|header|:\/\/|[?&]/

/** Returns the JSON of a part of a policy document without secrets. */
export function redactedJson(part: unknown): string {
  const json = JSON.stringify(part)
  return MAY_CHANGE.test(json) ? JSON.stringify(redact(part)) : json
}

function hide(value: unknown, key: string, mask = HIDDEN): unknown {
  if (typeof value !== 'object' || value === null) {
    if (key === 'secret' || key === 'apiKeys') return mask
    return typeof value === 'string' ? hidePassword(value, mask) : value
  }
  if (Array.isArray(value)) return value.map((item: unknown) => hide(item, key, mask))
  const words = value as Readonly<Record<string, unknown>>
  const hidesTests = key === 'header' && typeof words.name === 'string' && isSecretHeader(words.name)
  const hidesKeys = key === 'roles' && typeof words.from === 'string' && words.from.includes('{header.')
  return Object.fromEntries(
    Object.entries(words).map(([name, inner]) => {
      if (hidesTests && (name === 'equals' || name === 'in')) return [name, mask]
      if (hidesKeys && name === 'map') return [name, hideKeys(inner, mask)]
      return [name, hide(inner, name, mask)]
    }),
  )
}

/** Hides the keys of a table indexed by a header, which are credentials of senders. */
function hideKeys(table: unknown, mask: string): unknown {
  if (typeof table !== 'object' || table === null) return table
  return Object.fromEntries(Object.values(table).map((roles, index) => [`${mask}${index + 1}`, roles]))
}

/**
 * Hides `redis://user:***@host?password=***`. A single word before the host is a token, except in Redis, where it is a
 * user.
 */
function hidePassword(text: string, mask: string): string {
  // Most texts of a policy are none of these.
  if (!text.includes('://') && !/[?&]/.test(text)) return text
  return text
    .replaceAll(/([a-z][a-z0-9+.-]{0,30}:\/\/[^\s/?#:@]{0,200}):[^\s/?#]{0,1000}@/gi, `$1:${mask}@`)
    .replaceAll(/\b(?!rediss?(?:\+|:))([a-z][a-z0-9+.-]{0,30}:\/\/)[^\s/?#:@]{1,1000}@/gi, `$1${mask}@`)
    .replaceAll(/([?&](?:password|token|secret|auth|apikey)=)[^&\s#]+/gi, `$1${mask}`)
}
