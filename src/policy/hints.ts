import type { Problem } from '../errors.ts'
import { nearest } from './nearest.ts'
import { type Located, type Path, parsePath } from './positions.ts'

/** Words people know from other programs, and what they are called here. */
const OTHER_WORDS: Readonly<Record<string, string>> = {
  action: 'use `exceeded` for what happens beyond the limit, `on` for publish, subscribe, connect or deliver',
  outcome: 'use `exceeded`',
  rate: 'use `limit`, as limit: 10/s burst 20',
  rates: 'use `limit`, as limit: 10/s burst 20',
  max: 'use `limit`, as limit: 10/s burst 20',
  interval: 'write the period in `limit`, as limit: 10 per 5s',
  period: 'write the period in `limit`, as limit: 10 per 5s',
  topics: 'use `topic` with one pattern; write a rule for each further one',
  pattern: 'use `topic`',
  subject: 'use `topic`; `dialect: nats` makes it a subject',
  key: 'use `per`',
  scope: 'use `per`',
  exemptions: 'use `exempt`',
  whitelist: 'use `exempt`',
  allow: 'use `exempt`',
  limits: 'use `rules`',
  redis: 'use `store`, as store: redis://127.0.0.1:6379',
  '<<': 'merge keys are not read: write the words out, or lay a second file over this one',
}

/** Returns the remedy for a key that is a word of other programs. */
export function hintForKey(key: string): string | undefined {
  return Object.hasOwn(OTHER_WORDS, key) ? OTHER_WORDS[key] : undefined
}

/** Returns the problem with a better remedy if its value is a common mistake. */
export function withHint(problem: Problem, root: Located): Problem {
  const path = parsePath(problem.path ?? '')
  const remedy = hintForValue(path, valueAt(root, path))
  return remedy === undefined ? problem : { ...problem, remedy }
}

/** Returns the remedy for a line that YAML cannot read as its writer meant it. */
export function hintForSyntax(line: string): string | undefined {
  const entry = /^\s*(?:-\s+)?([\w-]+):\s+([*{[&>|%@`!].*?)\s*$/.exec(line)
  if (entry && entry[1] === 'topic' && entry[2] === '*') {
    return 'write topic: "#" for all topics of MQTT, topic: ">" for all subjects of NATS, in quotes'
  }
  if (entry && /^(?:topic|device|client|user|tier|from|apiKey)$/.test(entry[1]!)) {
    return `put it in quotes: ${entry[1]}: "${entry[2]!.replaceAll('"', '')}"`
  }
  return undefined
}

function hintForValue(path: Path, value: unknown): string | undefined {
  const name = String(path.findLast(step => typeof step === 'string') ?? '')
  if (name === 'topic' || name === 'topics') {
    if (value === null) return 'put it in quotes, as "#": what follows a # without quotes is a comment'
    if (Array.isArray(value)) return 'write one pattern; write a rule for each further one'
    return undefined
  }
  if (name === 'per' && typeof value === 'string' && /[\s,]/.test(value)) {
    const parts = value.split(/[\s,]+/).filter(part => part !== '')
    return `write a list: per: [${parts.join(', ')}]`
  }
  if (name === 'throttle' && typeof value === 'string' && /^\d+\s*(?:ms|s|m|h)$/.test(value)) {
    return `write exceeded: { throttle: { upTo: ${value} } }`
  }
  if (name === 'zone' && typeof value === 'string') {
    const zones = Intl.supportedValuesOf('timeZone')
    const near = zones.includes(value) ? undefined : nearest(value, zones)
    return near === undefined ? undefined : `did you mean ${near}? Names are those of IANA`
  }
  return name === 'limit' || name === 'quota' ? hintForRate(name, value) : undefined
}

function hintForRate(name: string, value: unknown): string | undefined {
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) {
    return `write it as one text, as ${name}: ${name === 'quota' ? '10000/day' : '10/s burst 20'}`
  }
  if (typeof value !== 'string') return undefined
  if (/\d,\d{3}/.test(value)) return `write numbers without commas, as ${value.replaceAll(',', '')}`
  const bits = /^\s*(\d+)\s*([kMG]?)bits?\b/.exec(value) ?? /^\s*(\d+)\s*([kMG]?)bps\b/.exec(value)
  if (bits) return `write bytes, which are an eighth: ${Number(bits[1]) / 8}${bits[2]}B/s`
  const named = /^\s*(\d+)\s*(?:msgs?|messages?|req|requests?|events?|packets?)\s*(\/|per\s)\s*(\S.*)$/i.exec(
    value,
  )
  if (named)
    return `write ${named[1]}${named[2] === '/' ? '/' : ' per '}${named[3]}: messages are counted unless bytes are named`
  if (name === 'quota' && /(?:\/|\bper\s)\s*(?:ms|s|sec\w*|m|min\w*|h|hours?)\b/.test(value)) {
    return `write limit: ${value.trim()}; a quota counts per day, week, month or year`
  }
  return undefined
}

function valueAt(root: Located, path: Path): unknown {
  let here: Located | undefined = root
  for (const step of path) {
    if (here?.kind === 'list') here = here.items[Number(step)]
    else here = here?.kind === 'map' ? here.entries.get(String(step))?.value : undefined
  }
  if (here === undefined) return undefined
  return here.kind === 'scalar' ? here.value : here.kind === 'list' ? [] : {}
}
