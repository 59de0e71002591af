import type { Dialect, Message, MessageHeaders, Operation, Sender } from '../../core/message.ts'
import { CapturedMessage, type CapturedMessageFields } from '../../core/message-from-fields.ts'
import { createSender, type HandlerResult, keyOfSender, SenderCache } from '../../index.ts'
import { formatCount, formatWait } from '../terminal/format.ts'
import { CaptureLineCache } from './capture-line-cache.ts'
import { isCaptureHeader } from './capture-version.ts'
import { decodeLine, endOfLine, LineError } from './line-splitter.ts'

/** A line of a capture. */
export interface CaptureRecord {
  /** Whole milliseconds since the Unix epoch. */
  readonly atMs: number
  readonly message: Message
  /** Result of its handler, if it was recorded. */
  readonly handled: HandlerResult | undefined
}

type Fields = Readonly<Record<string, unknown>>

const ACTIONS: ReadonlySet<unknown> = new Set<Operation>([
  'publish',
  'subscribe',
  'connect',
  'deliver',
  'accept',
])

/** Maximum time value of a date (ECMA-262, 21.4.1.1). */
const MAX_DATE_MS = 8.64e15

export interface CaptureLineParserOptions {
  /** Counts lines that are earlier than one before them, instead of refusing the first one. Default: false. */
  readonly allowsOutOfOrder?: boolean | undefined
}

/** Parses lines of a capture. Unknown fields are ignored; null means absent. */
export class CaptureLineParser {
  readonly #protocol: Dialect
  readonly #allowsOutOfOrder: boolean
  readonly #senders = new SenderCache<Sender>()
  readonly #lines = new CaptureLineCache()
  #end = 0
  #messages = 0
  #latestMs = 0
  #outOfOrder = 0
  /** Number of the first message that is earlier than one before it, from 1. */
  #firstOutOfOrder = 0

  constructor(protocol: Dialect, { allowsOutOfOrder = false }: CaptureLineParserOptions = {}) {
    this.#protocol = protocol
    this.#allowsOutOfOrder = allowsOutOfOrder
  }

  /** Index after the line that was read last, where its line feed is. */
  get end(): number {
    return this.#end
  }

  /**
   * Number of the line that was read last, counted from 0. Lines of the same number differ only in time and size. Undefined
   * for a line that is not cached.
   */
  get lineNumber(): number | undefined {
    return this.#lines.number
  }

  /**
   * Reads the line that starts at an index; undefined for an empty line and for the header of a capture. Throws LineError for
   * an invalid line, also for one that is earlier than one before it.
   */
  read(lines: Buffer, from = 0): CaptureRecord | undefined {
    const known = this.#lines.find(lines, from)
    if (known !== undefined) {
      this.#end = this.#lines.end
      const { atMs } = this.#lines
      this.#checkOrder(atMs)
      return { atMs, message: known, handled: undefined }
    }
    this.#end = endOfLine(lines, from)
    const line = decodeLine(lines.subarray(from, this.#end))
    if (line.trim() === '' || isCaptureHeader(line)) return undefined
    const record = this.#parse(line)
    this.#checkOrder(record.atMs)
    this.#lines.add(lines, from, record.message)
    return record
  }

  /** Describes messages that are out of order; undefined if there are none. */
  describeOutOfOrder(): string | undefined {
    if (this.#outOfOrder === 0) return undefined
    const lines = this.#outOfOrder === 1 ? '1 line was' : `${formatCount(this.#outOfOrder)} lines were`
    const place = `message ${formatCount(this.#firstOutOfOrder)} is the first`
    return `${lines} out of order and decided at the latest time before: ${place} (sort the capture by "at")`
  }

  #checkOrder(atMs: number): void {
    this.#messages++
    if (atMs >= this.#latestMs) {
      this.#latestMs = atMs
      return
    }
    if (!this.#allowsOutOfOrder) {
      const lag = formatWait(this.#latestMs - atMs)
      throw new LineError(`the line is ${lag} earlier than one before it (sort the capture by "at")`)
    }
    if (++this.#outOfOrder === 1) this.#firstOutOfOrder = this.#messages
  }

  #parse(line: string): CaptureRecord & { readonly message: CapturedMessage } {
    const fields = parseObject(line)
    const { at, topic } = fields
    if (!isWhole(at, MAX_DATE_MS))
      throw invalidField('at', at, 'whole milliseconds since 1970, as 0 or 1700000000000')
    if (typeof topic !== 'string') throw invalidField('topic', topic, 'a text')
    const on = fields.on ?? 'publish'
    if (!ACTIONS.has(on)) throw invalidField('on', on, 'publish, subscribe, connect or deliver')
    const qos = fields.qos ?? 0
    if (qos !== 0 && qos !== 1 && qos !== 2) throw invalidField('qos', qos, '0, 1 or 2')
    const retain = fields.retain ?? false
    if (typeof retain !== 'boolean') throw invalidField('retain', retain, 'true or false')
    const will = fields.will ?? false
    if (typeof will !== 'boolean') throw invalidField('will', will, 'true or false')
    const size = fields.size ?? undefined
    if (size !== undefined && !isWhole(size)) throw invalidField('size', size, 'a whole number of bytes')
    const headers = fields.headers ?? undefined
    if (headers !== undefined && !areHeaders(headers)) {
      throw invalidField('headers', headers, 'an object of texts, or of lists of texts')
    }
    const parts = {
      topic,
      on: on as Operation,
      sender: this.#findSender(readSender(fields)),
      size,
      qos,
      retain,
      will,
      headers,
      payload: fields.payload,
    } as const
    return { atMs: at, message: createMessage(parts, this.#protocol), handled: readHandled(fields) }
  }

  #findSender(sender: Sender): Sender {
    const key = keyOfSender(sender)
    return this.#senders.get(key) ?? this.#senders.set(key, createSender(sender))
  }
}

/** Throws LineError for a payload nested too deeply to measure. */
function createMessage(parts: CapturedMessageFields, protocol: Dialect): CapturedMessage {
  try {
    return new CapturedMessage(parts, protocol)
  } catch (cause) {
    throw new LineError('the payload is nested too deeply', { cause })
  }
}

function parseObject(line: string): Fields {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (cause) {
    throw new LineError(`this is not JSON: ${(cause as Error).message}`, { cause })
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value)) {
    throw new LineError('a line of a capture is a JSON object, as {"at": 0, "topic": "a/b"}')
  }
  return value as Fields
}

function readSender(fields: Fields): Sender {
  const roles = fields.roles ?? undefined
  if (roles !== undefined && !isTexts(roles)) throw invalidField('roles', roles, 'a list of texts')
  return {
    client: readText(fields.client, 'client'),
    user: readText(fields.user, 'user'),
    device: readText(fields.device, 'device'),
    apiKey: readText(fields.apiKey, 'apiKey'),
    ip: readText(fields.ip, 'ip'),
    roles,
    tier: readText(fields.tier, 'tier'),
  }
}

function readText(value: unknown, name: string): string | undefined {
  if (value === undefined || value === null) return undefined
  if (typeof value !== 'string') throw invalidField(name, value, 'a text')
  return value
}

/** Parses `took`, the whole milliseconds from admission to the end of the handler, and `ok`, its success. */
function readHandled(fields: Fields): HandlerResult | undefined {
  const took = fields.took ?? undefined
  const ok = fields.ok ?? undefined
  if (took !== undefined && !isWhole(took)) throw invalidField('took', took, 'whole milliseconds, as 120')
  if (ok !== undefined && typeof ok !== 'boolean') throw invalidField('ok', ok, 'true or false')
  return took === undefined && ok === undefined ? undefined : { durationMs: took ?? 0, ok: ok ?? true }
}

function isWhole(value: unknown, most = Number.MAX_SAFE_INTEGER): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= most
}

function isTexts(value: unknown): value is readonly string[] {
  return Array.isArray(value) && value.every(entry => typeof entry === 'string')
}

function areHeaders(value: unknown): value is MessageHeaders {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return false
  return Object.values(value).every(entry => typeof entry === 'string' || isTexts(entry))
}

function invalidField(field: string, value: unknown, remedy: string): LineError {
  if (value === undefined) return new LineError(`"${field}" is missing (write ${remedy})`)
  const shown = JSON.stringify(value)
  return new LineError(
    `"${field}" is ${shown.length > 60 ? `${shown.slice(0, 59)}…` : shown} (write ${remedy})`,
  )
}
