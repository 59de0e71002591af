import { createReadStream, createWriteStream } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'

/** Copy of the standard input in a temporary file, which can be read several times. */
export class StdinCopy {
  readonly #folder: string

  private constructor(folder: string) {
    this.#folder = folder
  }

  /** Copies the input to its end. Rejects if the disk is full. */
  static async copy(stdin: Readable): Promise<StdinCopy> {
    const input = new StdinCopy(await mkdtemp(join(tmpdir(), 'topicgate-input-')))
    try {
      await pipeline(stdin, createWriteStream(input.#file))
    } catch (error) {
      await input.remove()
      throw error
    }
    return input
  }

  get #file(): string {
    return join(this.#folder, 'input')
  }

  /** Returns a stream of the input, from its start. */
  open(): Readable {
    return createReadStream(this.#file, { highWaterMark: 1 << 18 })
  }

  /** Deletes the temporary file. */
  remove(): Promise<void> {
    return rm(this.#folder, { recursive: true, force: true })
  }
}
