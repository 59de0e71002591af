import { randomBytes } from 'node:crypto'
import type { ConditionSpec } from '../src/conditions/condition.ts'
import type { Message, MessageHeaders } from '../src/core/message.ts'

/** A condition that no message of its work meets. */
export interface ConditionWork {
  readonly title: string
  readonly when: ConditionSpec
  readonly payload?: Buffer
  readonly headers?: MessageHeaders
  readonly protocol?: Message['protocol']
}

/** Returns readings of a device as JSON of a size. */
export function jsonOf(sizeBytes: number): Buffer {
  const readings: object[] = []
  const write = (): string => JSON.stringify({ priority: 'normal', device: 'device-1', readings })
  while (write().length < sizeBytes - 80)
    readings.push({ at: 1_767_600_000 + readings.length, sensor: 't1', value: 21.53, unit: 'C', ok: true })
  return Buffer.from(write().padEnd(sizeBytes))
}

const SIZE_10_KB = 10_000
/** JSON that is complete except for its end. */
export const CUT_JSON = Buffer.from(
  `{"readings":[${Array.from({ length: 2_500 }, (_, index) => index)}`.slice(0, SIZE_10_KB),
)
export const NO_JSON = randomBytes(SIZE_10_KB)

const HEADERS = { 'x-trace': '4f1c', 'x-priority': 'normal', 'x-api-key': 'a long random text, as a key is' }
const URGENT: ConditionSpec = { payload: { field: 'priority', equals: 'urgent' } }
const NESTED: ConditionSpec = { payload: { field: 'readings[0].value', range: [50, null] } }

export const CONDITIONS: Readonly<Record<string, ConditionWork>> = {
  qos: { title: '`qos: 2`', when: { qos: 2 } },
  size: { title: '`size`', when: { size: { min: '1MB' } } },
  time: {
    title: '`time`, `days` and `zone`',
    when: { time: '03:00-03:01', days: 'sat', zone: 'Europe/Berlin' },
  },
  header: {
    title: '`header`, `equals`',
    when: { header: { name: 'x-priority', equals: 'urgent' } },
    headers: HEADERS,
  },
  headerIn: {
    title: '`header`, `in`',
    when: { header: { name: 'x-priority', in: ['high', 'urgent'] } },
    headers: HEADERS,
  },
  headerRange: {
    title: '`header`, `range`',
    when: { header: { name: 'x-trace', range: [1, 9] } },
    headers: HEADERS,
  },
  secret: {
    title: '`header`, `secret` of 31 characters',
    when: { header: { name: 'x-api-key', secret: 'a long random text, as a key has' } },
    headers: HEADERS,
  },
  noHeader: {
    title: '`header` that a NATS message lacks',
    when: { header: { name: 'priority', equals: 'urgent' } },
    headers: HEADERS,
    protocol: 'nats',
  },
  json100: { title: '`payload` field, 100 B', when: URGENT, payload: jsonOf(100) },
  json1k: { title: '`payload` field, 1 KB', when: URGENT, payload: jsonOf(1_000) },
  json10k: { title: '`payload` field, 10 KB', when: URGENT, payload: jsonOf(SIZE_10_KB) },
  nested: { title: '`payload` field in a list, 10 KB', when: NESTED, payload: jsonOf(SIZE_10_KB) },
  two: {
    title: 'two `payload` fields, 10 KB',
    when: { any: [URGENT, NESTED] },
    payload: jsonOf(SIZE_10_KB),
  },
  whole: { title: 'whole `payload`, 10 KB', when: { payload: { equals: 5 } }, payload: jsonOf(SIZE_10_KB) },
  image: {
    title: '`payload` field beside a text of 10 KB',
    when: URGENT,
    payload: Buffer.from(JSON.stringify({ image: randomBytes(7_400).toString('base64'), priority: 'low' })),
  },
  off: { title: '`payload` field, the text OFF', when: URGENT, payload: Buffer.from('OFF') },
  binary: { title: '`payload` field, 10 KB that are not JSON', when: URGENT, payload: NO_JSON },
  cut: { title: '`payload` field, 10 KB of JSON without its end', when: URGENT, payload: CUT_JSON },
}
