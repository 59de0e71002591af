/**
 * Patterns of texts in a policy, used only in the JSON Schema, so that editors mark invalid texts. They do not know the
 * names of captures, tiers and rules, so a matching policy may still be wrong. A text with a variable always matches.
 */

/** Returns a pattern for whole texts. */
function whole(form: string): string {
  return `^(?:\\s*(?:${form})\\s*|[\\s\\S]*\\$\\{[\\s\\S]*)$`
}

/** Returns an alternative of words; those of more than two letters match in any case. */
function words(list: string): string {
  const anyCase = (word: string): string =>
    word.length <= 2 ? word : word.replaceAll(/[a-z]/g, letter => `[${letter}${letter.toUpperCase()}]`)
  return `(?:${list
    .split(' ')
    .toSorted((a, b) => b.length - a.length)
    .map(anyCase)
    .join('|')})`
}

const TIME_UNIT = words(
  'ms millisecond milliseconds s sec secs second seconds m min mins minute minutes h hr hrs hour hours d day days w week weeks month months y year years',
)
const MULTIPLE = '(?:[kK]i?|[MGT]i?)'
const SIZE = `(?:\\d+|\\d+\\.\\d+(?=\\s*${MULTIPLE}))\\s*${MULTIPLE}?(?:B|bytes?)?`
const BURST = `burst\\s+${SIZE}`
const SCOPE_WORD = '[A-Za-z_][\\w.|/:-]*'
const PER = `per\\s+${SCOPE_WORD}(?:\\s*,\\s*${SCOPE_WORD})*`
const RATE = `(?:unlimited|(?!0+(?:\\.0+)?[^\\d.])${SIZE}\\s*(?:/|per\\s)\\s*(?:\\d+(?:\\.\\d+)?\\s*)?${TIME_UNIT})(?:\\s+(?:${BURST}|${PER}))*`
const WEEKDAY = words('mon tue wed thu fri sat sun monday tuesday wednesday thursday friday saturday sunday')

export const RATE_PATTERN = whole(RATE)
export const QUOTA_PATTERN = whole(`${RATE}(?:\\s+from\\s+(?:day\\s+(?:[1-9]|[12]\\d|3[01])|${WEEKDAY}))?`)
export const DURATION_PATTERN = whole(`(?!0+(?:\\.0+)?[^\\d.])\\d+(?:\\.\\d+)?\\s*${TIME_UNIT}`)
export const PERCENT_PATTERN = whole('(?!0+(?:\\.0+)?\\s*%)(?:100(?:\\.0+)?|\\d{1,2}(?:\\.\\d+)?)\\s*%')
export const BYTES_PATTERN = whole(SIZE)

/** A scope, or alternatives of which the first known one is used: `user|ip`. Any name may be a capture. */
const SCOPE = '(?:ip/\\d{1,3}(?:/\\d{1,3})?|header\\.[^|]+|[A-Za-z_]\\w*)'
export const SCOPE_PATTERN = whole(`${SCOPE}(?:\\|${SCOPE})*`)

/** A topic or subject: `#` only as the last MQTT level, braces only around whole names. */
export const TOPIC_PATTERN = whole('(?![\\s\\S]*/#/)(?:[^{}\\u0000]|\\{[A-Za-z_][A-Za-z0-9_]*\\})+')
