import { closeSync, fstatSync, openSync, readSync } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Gate } from '../gate/gate.ts'
import type { GateEvents } from '../gate/gate-events.ts'
import type { RuntimeEntryKind } from '../gate/runtime-entry.ts'
import { redact } from '../policy/index.ts'

/** A change of a running gate: of a runtime entry, or by the admin API. */
export interface AuditChange {
  readonly kind: RuntimeEntryKind | 'policy' | 'counters' | 'metrics' | 'capture'
  readonly action: 'added' | 'removed' | 'expired' | 'changed' | 'reset' | 'started'
  /** Id of the entry, or the name of what was changed. */
  readonly id: string
  readonly atMs: number
  /** Author: the name of a token, of code, or `clock`. */
  readonly by: string
  readonly reason: string
  /** Address that the request came from. */
  readonly ip?: string | undefined
  /** State before the change, if there was one. */
  readonly before?: unknown
  /** State after the change; of a removed entry, the entry. */
  readonly note?: unknown
}

/** A change with its number, which only grows. */
export interface AuditRecord extends AuditChange {
  readonly seq: number
  /** Time of the change, as ISO 8601. */
  readonly at: string
}

export interface AuditPage {
  readonly limit: number
  readonly before?: number | undefined
  readonly after?: number | undefined
}

/** Append-only audit log. */
export interface AuditLog {
  /** Adds a record. */
  record(change: AuditChange): void
  /** Runs a change of the gate whose records hold this address. */
  withAddress<T>(ip: string | undefined, change: () => T): T
  /** Returns the last records, the newest first: at most `limit`, with numbers between `after` and `before`. */
  list(page: AuditPage): readonly AuditRecord[]
  /** Resolves when all records so far are on the disk, or cannot be written. */
  written(): Promise<void>
  /** Calls a listener with each record; returns a function that removes it. */
  watch(listener: (record: AuditRecord) => void): () => void
  /** Writes pending records, unsubscribes from the gate and closes the file. */
  close(): Promise<void>
  [Symbol.asyncDispose](): Promise<void>
}

/**
 * Keeps each ban, override, exemption and tier with author, target, time and reason. Appends them to a file readable by
 * its owner only, as one JSON object per line, and syncs it to the disk. The last `MAX_SIZES.auditRecords` are also kept
 * in memory; those of earlier runs are read from the file. Write errors are logged and delay nothing.
 */
export function keepAuditLog(gate: Gate, path?: string): AuditLog {
  return new GateAuditLog(gate, path)
}

class GateAuditLog implements AuditLog {
  readonly #gate: Gate
  readonly #path: string | undefined
  readonly #records: AuditRecord[] = []
  readonly #listeners = new Set<(record: AuditRecord) => void>()
  /** Lines that are not written yet. */
  #pending: string[] = []
  #writing: Promise<void> | undefined
  #file: FileHandle | undefined
  #hasFailed = false
  #seq = 0
  #ip: string | undefined
  readonly #onAudit = (change: GateEvents['audit'][0]): void => this.record(change)

  constructor(gate: Gate, path: string | undefined) {
    this.#gate = gate
    this.#path = path
    if (path !== undefined) this.#readEarlier(path)
    gate.on('audit', this.#onAudit)
  }

  record(change: AuditChange): void {
    const at = new Date(change.atMs).toISOString()
    const record: AuditRecord = {
      seq: ++this.#seq,
      at,
      ip: this.#ip,
      ...change,
      ...(redact({ before: change.before, note: change.note }) as Pick<AuditChange, 'before' | 'note'>),
    }
    const short = withShortStates(record)
    this.#records.push(short)
    if (this.#records.length > MAX_SIZES.auditRecords) this.#records.shift()
    for (const listener of this.#listeners) listener(short)
    if (this.#path === undefined || this.#hasFailed) return
    this.#pending.push(`${JSON.stringify(record)}\n`)
    this.#writing ??= this.#write(this.#path).finally(() => {
      this.#writing = undefined
    })
  }

  withAddress<T>(ip: string | undefined, change: () => T): T {
    this.#ip = ip
    try {
      return change()
    } finally {
      this.#ip = undefined
    }
  }

  list({ limit, before = Infinity, after = 0 }: AuditPage): readonly AuditRecord[] {
    return this.#records
      .filter(({ seq }) => seq < before && seq > after)
      .slice(-limit)
      .reverse()
  }

  async written(): Promise<void> {
    await this.#writing
  }

  watch(listener: (record: AuditRecord) => void): () => void {
    this.#listeners.add(listener)
    return () => void this.#listeners.delete(listener)
  }

  async close(): Promise<void> {
    this.#gate.off('audit', this.#onAudit)
    await this.#writing
    await this.#file?.close().catch(() => {})
    this.#file = undefined
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** Reads the last records of earlier runs. The process may have been killed while it wrote one. */
  #readEarlier(path: string): void {
    const text = readEnd(path, MAX_SIZES.auditReadBytes)
    if (text !== '' && !text.endsWith('\n')) this.#pending.push('\n')
    // The newest first. Another numbering, of an earlier version, is left out.
    let lowestSeq = Infinity
    for (const line of text.split('\n').reverse()) {
      const record = parseRecord(line)
      if (record === undefined) continue
      if (record.seq >= lowestSeq || this.#records.length >= MAX_SIZES.auditRecords) break
      lowestSeq = record.seq
      this.#records.push(withShortStates(record))
    }
    this.#records.reverse()
    this.#seq = this.#records.at(-1)?.seq ?? 0
  }

  /** Writes and syncs pending lines until there are none. Never rejects. */
  async #write(path: string): Promise<void> {
    try {
      this.#file ??= await open(path, 'a', 0o600)
      while (this.#pending.length > 0) {
        const lines = this.#pending.join('')
        this.#pending = []
        await this.#file.appendFile(lines)
        await this.#file.datasync()
      }
    } catch (err) {
      this.#hasFailed = true
      this.#pending = []
      this.#gate.logger.error({ err, path }, 'the audit log cannot be written')
    }
  }
}

/** Returns at most so many bytes of the end of a file, in whole lines except the last; empty if it cannot be read. */
function readEnd(path: string, maxBytes: number): string {
  let file: number | undefined
  try {
    file = openSync(path, 'r')
    const { size } = fstatSync(file)
    const bytes = Buffer.alloc(Math.min(size, maxBytes))
    const length = readSync(file, bytes, 0, bytes.length, size - bytes.length)
    const text = bytes.toString('utf8', 0, length)
    return length < size ? text.slice(text.indexOf('\n') + 1) : text
  } catch {
    return ''
  } finally {
    if (file !== undefined) closeSync(file)
  }
}

function parseRecord(line: string): AuditRecord | undefined {
  try {
    const record = JSON.parse(line) as Partial<AuditRecord> | null
    const isRecord = Number.isSafeInteger(record?.seq) && Number.isSafeInteger(record?.atMs)
    return isRecord ? (record as AuditRecord) : undefined
  } catch {
    return undefined
  }
}

/** Returns a record whose large states are replaced by their size. Why: the last records are kept in memory. */
function withShortStates(record: AuditRecord): AuditRecord {
  const { before, note } = record
  return { ...record, before: shortState(before), note: shortState(note) }
}

function shortState(state: unknown): unknown {
  const chars = state === undefined ? 0 : JSON.stringify(state).length
  return chars > MAX_SIZES.auditStateChars ? { omittedChars: chars } : state
}
