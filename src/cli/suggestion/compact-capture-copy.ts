import { type FileHandle, mkdtemp, open, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Dialect, MaybePromise, Message } from '../../core/message.ts'
import { CaptureFileReader, type CaptureLineReader } from '../capture/capture-file.ts'
import { CaptureLineParser, type CaptureRecord } from '../capture/capture-format.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'

/** Characters collected before they are written. */
const BATCH_CHARS = 65_536
const READ_BYTES = 262_144

const ZERO = 0x30
const SPACE = 0x20
const MINUS = 0x2d

/**
 * Copy of the times, topics and senders of a capture in a temporary file. Its lines are `17{"at":…}`, the message of line 17 of a
 * `CaptureLineCache`; `17 60`, the same message 60 ms after the one before; and `{"at":…}`, the message of a line that is not
 * cached. Why: reading it takes a fifth of the time of reading the capture, which may be a stream that can be read only once.
 */
export class CompactCaptureCopy {
  readonly #file: FileHandle
  #batch = ''
  #lines = 0
  #atMs = 0

  private constructor(file: FileHandle) {
    this.#file = file
  }

  /** Rejects with CommandError if the folder for temporary files cannot be written. */
  static async create(): Promise<CompactCaptureCopy> {
    try {
      const folder = await mkdtemp(join(tmpdir(), 'topicgate-copy-'))
      try {
        return new CompactCaptureCopy(await open(join(folder, 'copy'), 'w+', 0o600))
      } finally {
        // An open file needs no name. Without one, nothing is left behind if the process is killed.
        await rm(folder, { recursive: true, force: true })
      }
    } catch (cause) {
      throw unwritable(cause)
    }
  }

  /** Returns true if a message with the same number of its line was added. */
  hasLine(lineNumber: number | undefined): boolean {
    return lineNumber !== undefined && lineNumber < this.#lines
  }

  /** Adds a message with the number of its line in a `CaptureLineCache`. Rejects with CommandError if the disk is full. */
  add({ atMs, message }: CaptureRecord, lineNumber: number | undefined): MaybePromise<void> {
    // Only the last numbers are repeated.
    const slot = lineNumber === undefined ? '' : lineNumber % MAX_SIZES.cachedCaptureLines
    if (this.hasLine(lineNumber)) this.#batch += `${slot} ${atMs - this.#atMs}\n`
    else {
      if (lineNumber !== undefined) this.#lines = lineNumber + 1
      const { topic, on, sender } = message
      const { client, user, device, apiKey, ip, roles, tier } = sender
      const fields = { at: atMs, topic, on, client, user, device, apiKey, ip, roles, tier }
      this.#batch += `${slot}${JSON.stringify(fields)}\n`
    }
    this.#atMs = atMs
    return this.#batch.length >= BATCH_CHARS ? this.#flush() : undefined
  }

  /** Returns a reader of all messages from the first one on. */
  async read(dialect: Dialect): Promise<CaptureFileReader> {
    await this.#flush()
    const stream = this.#file.createReadStream({ start: 0, autoClose: false, highWaterMark: READ_BYTES })
    return new CaptureFileReader('-', stream, new CopyReader(dialect))
  }

  close(): Promise<void> {
    return this.#file.close()
  }

  async #flush(): Promise<void> {
    const batch = this.#batch
    this.#batch = ''
    try {
      await this.#file.appendFile(batch)
    } catch (cause) {
      throw unwritable(cause)
    }
  }
}

/** Reads the lines of a copy. */
class CopyReader implements CaptureLineReader<CaptureRecord> {
  readonly #parser: CaptureLineParser
  readonly #messages: Message[] = []
  #atMs = 0
  #end = 0

  constructor(dialect: Dialect) {
    this.#parser = new CaptureLineParser(dialect, { allowsOutOfOrder: true })
  }

  get end(): number {
    return this.#end
  }

  read(lines: Buffer, from: number): CaptureRecord | undefined {
    const slot = this.#readNumber(lines, from)
    if (lines[this.#end] !== SPACE) return this.#readMessage(lines, from, slot)
    const isBack = lines[this.#end + 1] === MINUS
    const passedMs = this.#readNumber(lines, this.#end + (isBack ? 2 : 1))
    this.#atMs += isBack ? -passedMs : passedMs
    return { atMs: this.#atMs, message: this.#messages[slot]!, handled: undefined }
  }

  #readMessage(lines: Buffer, from: number, slot: number): CaptureRecord | undefined {
    const start = this.#end
    const record = this.#parser.read(lines, start)
    this.#end = this.#parser.end
    if (record === undefined) return undefined
    this.#atMs = record.atMs
    if (start > from) this.#messages[slot] = record.message
    return record
  }

  /** Reads a number up to `#end`. */
  #readNumber(lines: Buffer, from: number): number {
    let number = 0
    let offset = from
    for (let digit = lines[offset]! - ZERO; digit >= 0 && digit <= 9; digit = lines[++offset]! - ZERO)
      number = number * 10 + digit
    this.#end = offset
    return number
  }
}

function unwritable(cause: unknown): CommandError {
  const { code = '' } = cause as NodeJS.ErrnoException
  const text = `${tmpdir()}: a temporary file cannot be written: ${code} (set TMPDIR to a folder with more room)`
  return new CommandError(text, EXIT.failed, { cause })
}
