import { isSecretHeader } from '../conditions/secret-text.ts'

const HIDDEN = '***'

/**
 * Returns a copy of a policy document without secrets, for logs and terminals. Secrets, API keys, passwords in URLs and
 * values compared with secret headers are replaced by `***`.
 */
export function redact(document: unknown): unknown {
  return hide(document, '')
}

/** Matches the JSON of everything that `redact` may change, and of more. */
const MAY_CHANGE = /secret|apiKeys|header|:\/\/|[?&]/

/** Returns the JSON of a part of a policy document without secrets. */
export function redactedJson(part: unknown): string {
  const json = JSON.stringify(part)
  return MAY_CHANGE.test(json) ? JSON.stringify(redact(part)) : json
}

function hide(value: unknown, key: string): unknown {
  if (typeof value === 'string') return key === 'secret' || key === 'apiKeys' ? HIDDEN : hidePassword(value)
  if (typeof value !== 'object' || value === null)
    return key === 'secret' || key === 'apiKeys' ? HIDDEN : value
  if (Array.isArray(value)) return value.map((item: unknown) => hide(item, key))
  const words = value as Readonly<Record<string, unknown>>
  const hidesTests = key === 'header' && typeof words.name === 'string' && isSecretHeader(words.name)
  const hidesKeys = key === 'roles' && typeof words.from === 'string' && words.from.includes('{header.')
  return Object.fromEntries(
    Object.entries(words).map(([name, inner]) => {
      if (hidesTests && (name === 'equals' || name === 'in')) return [name, HIDDEN]
      if (hidesKeys && name === 'map') return [name, hideKeys(inner)]
      return [name, hide(inner, name)]
    }),
  )
}

/** Hides the keys of a table indexed by a header, which are credentials of senders. */
function hideKeys(table: unknown): unknown {
  if (typeof table !== 'object' || table === null) return table
  return Object.fromEntries(Object.values(table).map((roles, index) => [`${HIDDEN}${index + 1}`, roles]))
}

/**
 * Hides `redis://user:***@host?password=***`. A single word before the host is a token, except in Redis, where it is a
 * user.
 */
function hidePassword(text: string): string {
  // Most texts of a policy are none of these.
  if (!text.includes('://') && !/[?&]/.test(text)) return text
  return text
    .replaceAll(/([a-z][a-z0-9+.-]{0,30}:\/\/[^\s/?#:@]{0,200}):[^\s/?#]{0,1000}@/gi, `$1:${HIDDEN}@`)
    .replaceAll(/\b(?!rediss?(?:\+|:))([a-z][a-z0-9+.-]{0,30}:\/\/)[^\s/?#:@]{1,1000}@/gi, `$1${HIDDEN}@`)
    .replaceAll(/([?&](?:password|token|secret|auth|apikey)=)[^&\s#]+/gi, `$1${HIDDEN}`)
}
