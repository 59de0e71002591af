import type { Problem } from '../core/errors.ts'
import { nearest } from '../core/option-names.ts'
import { type Located, parsePolicyPath, type ValuePath } from './source-positions.ts'

/** Terms of other programs, with the terms used here. */
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
  policies: 'use `rules`',
  policy: 'a policy has rules; run a file of tests with topicgate test',
  tests: 'a policy has rules; run a file of tests with topicgate test',
  fleet: 'a policy has rules; run a fleet with topicgate simulate',
  id: 'use `name`',
  requests: 'use `limit`, as limit: 10/s burst 20',
  points: 'use `limit`, as limit: 10/s burst 20',
  count: 'use `limit`, as limit: 10/s burst 20',
  throttle: 'write exceeded: throttle, or exceeded: { throttle: { upTo: 30s } }',
  queue: 'write exceeded: queue, or exceeded: { queue: { max: 1000 } }',
  latest: 'write exceeded: latest, or exceeded: { latest: { topics: 1000 } }',
  redirect: 'write exceeded: { redirect: { to: dead/{topic} } }',
  degrade: 'write exceeded: degrade, or exceeded: { degrade: { sample: 10 } }',
  onExceed: 'use `exceeded`',
  onExceeded: 'use `exceeded`',
  overflow: 'use `exceeded`',
  timezone: 'use `zone`, as zone: Europe/Berlin',
  tz: 'use `zone`, as zone: Europe/Berlin',
  weight: 'use `cost`',
  concurrency: 'use `inFlight`, as inFlight: 5',
  maxConcurrent: 'use `inFlight`, as inFlight: 5',
  qos: 'write it as a condition: when: { qos: 1 }',
  retain: 'write it as a condition: when: { retain: true }',
  maxConnections: 'write a rule: { name: connections, per: client, connections: 100 }',
  maxSubscriptions: 'write a rule: { name: subscriptions, per: client, subscriptions: 100 }',
  maxRetained: 'write a rule: { name: retained, per: client, retained: 1000 }',
  host: 'write a URL, as url: redis://127.0.0.1:6379',
  type: 'write a URL, as url: redis://127.0.0.1:6379',
  redis: 'use `store`, as store: redis://127.0.0.1:6379',
}

/** Returns the remedy for a key that is a term of other programs. */
export function hintForForeignKey(key: string): string | undefined {
  return Object.hasOwn(OTHER_WORDS, key) ? OTHER_WORDS[key] : undefined
}

/** Returns the problem with a better remedy if its value is a common mistake. */
export function withHint(problem: Problem, root: Located): Problem {
  const path = parsePolicyPath(problem.path ?? '')
  const remedy = hintForValue(path, valueAt(root, path), root)
  return remedy === undefined ? problem : { ...problem, remedy }
}

/** Returns the remedy for a variable named like a part of a sender. */
export function hintForSenderVariable(name: string): string | undefined {
  if (!/^(?:client|user|device|ip|apiKey|tier|role)$/.test(name)) return undefined
  return `write {${name}} for the ${name} of the sender; with a $ it is a variable of the environment`
}

/** Returns the remedy for a common YAML mistake in a line. */
export function suggestYamlFix(line: string): string | undefined {
  const entry = /^\s*(?:-\s+)?([\w-]+):\s+([*{[&>|%@`!].*?)\s*$/.exec(line)
  if (entry && entry[1] === 'topic' && entry[2] === '*') {
    return 'write topic: "#" for all topics of MQTT, topic: ">" for all subjects of NATS, in quotes'
  }
  if (entry && /^(?:topic|device|client|user|tier|from|apiKey)$/.test(entry[1]!)) {
    return `put it in quotes: ${entry[1]}: "${entry[2]!.replaceAll('"', '')}"`
  }
  const colon = /^(\s*(?:-\s+)?)([a-z]\w*):([^\s/].*)$/i.exec(line)
  if (colon) return `put a space after the colon: ${colon[2]}: ${colon[3]}`
  const dash = /^\s*-([a-z]\w*:.*)$/i.exec(line)
  if (dash) return `put a space after the dash: - ${dash[1]}`
  return undefined
}

/** Outcomes by their terms in other programs. */
const OTHER_OUTCOMES: Readonly<Record<string, string>> = {
  block: 'drop or reject',
  deny: 'drop or reject',
  refuse: 'drop or reject',
  ignore: 'drop',
  discard: 'drop',
  delay: 'throttle',
  wait: 'throttle',
  slow: 'throttle',
  buffer: 'queue',
  kick: 'disconnect',
  close: 'disconnect',
  ban: 'disconnect, and `penalties` to ban who exceeds a limit again and again',
}

const OTHER_ACTIONS: Readonly<Record<string, string>> = {
  pub: 'publish',
  write: 'publish',
  send: 'publish',
  sub: 'subscribe',
  read: 'deliver for messages to a subscriber, or subscribe',
  receive: 'deliver',
  login: 'connect',
  connection: 'connect',
  socket: 'accept',
  handshake: 'accept',
}

const OTHER_SCOPES: Readonly<Record<string, string>> = {
  username: 'user',
  account: 'user',
  address: 'ip',
  ipaddress: 'ip',
  connection: 'client',
  session: 'client',
  all: 'global',
  none: 'global',
}

const OTHER_ALGORITHMS: Readonly<Record<string, string>> = {
  gcra: 'use token-bucket, which decides as GCRA does',
  sliding_window: 'use sliding-counter, or sliding-log for exact counts',
  'sliding-window': 'use sliding-counter, or sliding-log for exact counts',
}

function hintForValue(path: ValuePath, value: unknown, root: Located): string | undefined {
  const name = String(path.findLast(step => typeof step === 'string') ?? '')
  if (name === 'topic' || name === 'topics') {
    if (value === null) return 'put it in quotes, as "#": what follows a # without quotes is a comment'
    if (Array.isArray(value)) return 'write one pattern; write a rule for each further one'
    return undefined
  }
  if (typeof value === 'string') {
    const assigned = /^([a-z]\w*) = (\S+)/.exec(value)
    if (assigned && typeof path.at(-1) === 'number') return `write a colon: ${assigned[1]}: ${assigned[2]}`
    if (name === 'per') return hintForScope(path, value, root)
    if (name === 'exceeded') return useInstead(OTHER_OUTCOMES, value)
    if (name === 'on') return useInstead(OTHER_ACTIONS, value)
    if (name === 'algorithm') return entryOf(OTHER_ALGORITHMS, value)
    if (name === 'store' || name === 'url') return hintForStore(value)
    if (name === 'window' && /^\d/.test(value))
      return `write the period in \`limit\`, as limit: 10 per ${value}`
  }
  if (name === 'per' && value === null)
    return 'remove it to count all senders together, or write a scope, as client'
  if (Array.isArray(value) && (name === 'exceeded' || name === 'on'))
    return `write one of them; write a rule for each further one`
  if (name === 'throttle' && typeof value === 'number')
    return `write a unit: exceeded: { throttle: { upTo: ${value}s } }`
  if (name === 'throttle' && typeof value === 'string' && /^\d+\s*(?:ms|s|m|h)$/.test(value)) {
    return `write exceeded: { throttle: { upTo: ${value} } }`
  }
  if (name === 'zone' && typeof value === 'string') {
    const zones = Intl.supportedValuesOf('timeZone')
    const near = zones.includes(value) ? undefined : nearest(value, zones)
    return near === undefined ? undefined : `did you mean ${near}? Names are those of IANA`
  }
  if (name === 'ips' && typeof value === 'string') return hintForAddress(value)
  return name === 'limit' || name === 'quota' ? hintForRate(name, value) : undefined
}

function entryOf(words: Readonly<Record<string, string>>, word: string): string | undefined {
  const key = word.toLowerCase()
  return Object.hasOwn(words, key) ? words[key] : undefined
}

function useInstead(words: Readonly<Record<string, string>>, word: string): string | undefined {
  const ours = entryOf(words, word)
  return ours === undefined ? undefined : `use ${ours}`
}

function hintForScope(path: ValuePath, value: string, root: Located): string | undefined {
  const parts = value.split(/\s+and\s+|[\s,+&]+/).filter(part => part !== '')
  if (parts.length > 1) return `write a list: per: [${parts.join(', ')}]`
  if (value.startsWith('ip/') && value.includes('.')) return 'write the length of the prefix, as ip/24'
  const topic = valueAt(root, [...path.slice(0, path.lastIndexOf('per')), 'topic'])
  if (typeof topic === 'string') {
    const level = topic.split(/[/.]/).find(each => each === `:${value}` || each === `<${value}>`)
    if (level !== undefined) return `write {${value}} in the topic for ${level}`
  }
  return useInstead(OTHER_SCOPES, value)
}

function hintForAddress(value: string): string | undefined {
  if (value === 'localhost') return 'write 127.0.0.1, and ::1 for IPv6'
  const prefix = /^((?:\d{1,3}\.){1,3})(?:\*\.?)+$/.exec(value)?.[1]?.split('.').slice(0, -1)
  if (prefix) return `write ${[...prefix, 0, 0, 0].slice(0, 4).join('.')}/${8 * prefix.length}`
  if (/^[\d.]+\s*-\s*[\d.]+$/.test(value)) return 'write the range as CIDR blocks, as 10.0.0.0/28'
  return undefined
}

function hintForStore(value: string): string | undefined {
  if (/^memory:/.test(value)) return 'write store: memory'
  const host = /^([\w.-]+):(\d+)$/.exec(value)
  if (host) return `write the scheme: ${host[2] === '4222' ? 'nats' : 'redis'}://${value}`
  return undefined
}

function hintForRate(name: string, value: unknown): string | undefined {
  if (Array.isArray(value)) return 'write a rule for each: every matching rule is applied'
  if (name === 'quota' && typeof value === 'number')
    return `write the period: ${value}/day, /week, /month or /year`
  if (typeof value === 'object' && value !== null) {
    return `write it as one text, as ${name}: ${name === 'quota' ? '10000/day' : '10/s burst 20'}`
  }
  if (typeof value !== 'string') return undefined
  if (/[“”‘’]/.test(value)) return `write straight quotes or none: ${value.replaceAll(/[“”‘’]/g, '')}`
  if (/^\$[A-Za-z_]\w*$/.test(value)) return `write \${${value.slice(1)}} for a variable of the environment`
  if (/\band\b|;|&/.test(value)) return 'write a rule for each: every matching rule is applied'
  const burst = /^\s*(\d+\s*(?:\/|per\b)\s*[a-z]+)\s*[,+;]?\s*(?:burst)?\s*[=:,+]?\s*(\d+)\s*$/.exec(value)
  // Text that already has this form is wrong for another reason.
  if (burst && !/\s+burst\s+\d+\s*$/.test(value.replace(/,\s*burst/, ',burst')))
    return `write ${burst[1]} burst ${burst[2]}`
  const reversed = /^\s*burst\s*[=:]?\s*(\d+)[\s,]+(\d+\s*\/\s*[a-z]+)\s*$/.exec(value)
  if (reversed) return `write ${reversed[2]} burst ${reversed[1]}`
  const short = /^\s*(\d+)\s*(rps|rpm|rph|hz)\s*$/i.exec(value)
  if (short)
    return `write ${short[1]}/${{ rps: 's', hz: 's', rpm: 'min', rph: 'h' }[short[2]!.toLowerCase()]}`
  if (/^\s*\d[\d_]*_\d/.test(value))
    return `write numbers without underscores, as ${value.replaceAll('_', '')}`
  if (/^\s*(?:none|off|no|infinite|infinity|disabled)\s*$/i.test(value)) return 'write unlimited'
  const unitless = /^\s*(\d+)\s*\/\s*(\d*)\s*$/.exec(value)
  if (unitless) return `write a unit of time: ${unitless[1]}${unitless[2] ? ` per ${unitless[2]}s` : '/s'}`
  const adverb = /^\s*(\d+)\s*(dai|week|month|year)ly\s*$/i.exec(value)
  if (adverb) return `write ${adverb[1]}/${adverb[2] === 'dai' ? 'day' : adverb[2]}`
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

function valueAt(root: Located, path: ValuePath): unknown {
  let here: Located | undefined = root
  for (const step of path) {
    if (here?.kind === 'list') here = here.items[Number(step)]
    else here = here?.kind === 'map' ? here.entries.get(String(step))?.value : undefined
  }
  if (here === undefined) return undefined
  return here.kind === 'scalar' ? here.value : here.kind === 'list' ? [] : {}
}
