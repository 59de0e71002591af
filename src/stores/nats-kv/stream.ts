import { StoreError } from '../../core/errors.ts'
import {
  isMissing,
  type JetStream,
  NO_STREAM,
  STREAM_EXISTS,
  type StreamConfig,
  type StreamInfo,
  SUBJECTS_OVERLAP,
} from './jetstream.ts'

/** Nanoseconds of a millisecond: JetStream counts ages in those. */
export const NS = 1_000_000

/**
 * A stream that is made when it is first needed, and again when it has gone. `settle` gives the settings it is to have
 * when it was found with others, undefined where those it has will do; it throws where they can never do.
 */
export class Stream {
  readonly name: string
  readonly #jetstream: JetStream
  readonly #wanted: () => StreamConfig
  readonly #settle: (found: StreamConfig) => StreamConfig | undefined
  #ready: Promise<StreamConfig> | undefined

  constructor(
    jetstream: JetStream,
    wanted: () => StreamConfig,
    settle: (found: StreamConfig) => StreamConfig | undefined,
  ) {
    this.name = wanted().name
    this.#jetstream = jetstream
    this.#wanted = wanted
    this.#settle = settle
  }

  /** Runs work on the stream, once more where it turns out that the stream has gone. */
  async use<T>(deadlineMs: number, work: () => Promise<T>): Promise<T> {
    for (let last = false; ; last = true) {
      try {
        await this.prepare(deadlineMs)
        return await work()
      } catch (error) {
        // After a failure it is looked at again: the server may have come back without it.
        this.#ready = undefined
        if (last || !isMissing(error)) throw error
      }
    }
  }

  /** The settings of the stream, made where it is not there. */
  prepare(deadlineMs: number): Promise<StreamConfig> {
    if (this.#ready === undefined) {
      const ready = this.#prepare(deadlineMs)
      this.#ready = ready
      ready.catch(() => {
        if (this.#ready === ready) this.#ready = undefined
      })
    }
    return this.#ready
  }

  /** Looks at the settings again before they are next relied on. */
  recheck(): void {
    this.#ready = undefined
  }

  async info(deadlineMs: number, filter?: string): Promise<StreamInfo> {
    const body = filter === undefined ? undefined : { subjects_filter: filter }
    const answer = await this.#jetstream.call<StreamInfo>(`STREAM.INFO.${this.name}`, body, deadlineMs)
    if (answer.error !== undefined) throw new StoreError('nats: no information on a stream')
    return answer.value
  }

  /**
   * Removes the messages of a subject, which may hold wildcards, or those of a sequence below `seq` only; says how many
   * there were.
   */
  async purge(filter: string, deadlineMs: number, seq?: number): Promise<number> {
    const answer = await this.#jetstream.call<{ purged: number }>(
      `STREAM.PURGE.${this.name}`,
      { filter, ...(seq === undefined ? {} : { seq }) },
      deadlineMs,
      NO_STREAM,
    )
    return answer.error === undefined ? answer.value.purged : 0
  }

  async #prepare(deadlineMs: number): Promise<StreamConfig> {
    const { name } = this
    const found = await this.#jetstream.call<StreamInfo>(
      `STREAM.INFO.${name}`,
      undefined,
      deadlineMs,
      NO_STREAM,
    )
    if (found.error === undefined) return this.#adapt(found.value.config, deadlineMs)
    const made = await this.#jetstream.call<StreamInfo>(
      `STREAM.CREATE.${name}`,
      this.#wanted(),
      deadlineMs,
      STREAM_EXISTS,
      SUBJECTS_OVERLAP,
    )
    if (made.error === undefined) return made.value.config
    // Another node was faster, perhaps with other settings; or a stream of another name has these subjects.
    const theirs = await this.#jetstream.call<StreamInfo>(
      `STREAM.INFO.${name}`,
      undefined,
      deadlineMs,
      NO_STREAM,
    )
    if (theirs.error === undefined) return this.#adapt(theirs.value.config, deadlineMs)
    throw new StoreError(
      `nats: ${made.error.description}: no stream ${name} can be made (choose another bucket)`,
    )
  }

  async #adapt(found: StreamConfig, deadlineMs: number): Promise<StreamConfig> {
    const better = this.#settle(found)
    if (better === undefined) return found
    const call = `STREAM.UPDATE.${this.name}`
    const answer = await this.#jetstream.call<StreamInfo>(call, better, deadlineMs)
    if (answer.error !== undefined) throw new StoreError('nats: the stream could not be changed')
    return answer.value.config
  }
}
