import { StoreError } from '../../core/errors.ts'
import {
  isStreamMissing,
  type JetStreamApi,
  STREAM_EXISTS,
  STREAM_NOT_FOUND_CODE,
  type StreamConfig,
  type StreamInfo,
  SUBJECTS_OVERLAP,
} from './jetstream-api-client.ts'

/** Nanoseconds per millisecond; JetStream measures ages in nanoseconds. */
export const NS_PER_MS = 1_000_000

/**
 * Stream that is created on first use, and again if it was deleted. `configChange` returns the settings to change an
 * existing stream to, or undefined if its settings suffice; it throws if they never can.
 */
export class ManagedStream {
  readonly name: string
  readonly #jetstream: JetStreamApi
  readonly #desiredConfig: () => StreamConfig
  readonly #configChange: (found: StreamConfig) => StreamConfig | undefined
  #ready: Promise<StreamConfig> | undefined

  constructor(
    jetstream: JetStreamApi,
    desiredConfig: () => StreamConfig,
    configChange: (found: StreamConfig) => StreamConfig | undefined,
  ) {
    this.name = desiredConfig().name
    this.#jetstream = jetstream
    this.#desiredConfig = desiredConfig
    this.#configChange = configChange
  }

  /** Runs work on the stream, and once more if the stream was deleted. */
  async use<T>(deadlineMs: number, work: () => Promise<T>): Promise<T> {
    for (let last = false; ; last = true) {
      try {
        await this.prepare(deadlineMs)
        return await work()
      } catch (error) {
        // After a failure it is checked again, because the server may have restarted without it.
        this.#ready = undefined
        if (last || !isStreamMissing(error)) throw error
      }
    }
  }

  /** Returns the settings of the stream, created if missing. */
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

  /** Checks the settings again before the next use. */
  recheck(): void {
    this.#ready = undefined
  }

  async info(deadlineMs: number, filter?: string): Promise<StreamInfo> {
    const body = filter === undefined ? undefined : { subjects_filter: filter }
    const answer = await this.#jetstream.call<StreamInfo>(`STREAM.INFO.${this.name}`, body, deadlineMs)
    if (answer.error !== undefined) throw new StoreError('nats: the settings of a stream could not be read')
    return answer.value
  }

  /**
   * Purges the messages of a subject, which may contain wildcards, optionally only those before `seq`; returns how
   * many.
   */
  async purge(filter: string, deadlineMs: number, seq?: number): Promise<number> {
    const answer = await this.#jetstream.call<{ purged: number }>(
      `STREAM.PURGE.${this.name}`,
      { filter, seq },
      deadlineMs,
      STREAM_NOT_FOUND_CODE,
    )
    return answer.error === undefined ? answer.value.purged : 0
  }

  async #prepare(deadlineMs: number): Promise<StreamConfig> {
    const { name } = this
    const found = await this.#jetstream.call<StreamInfo>(
      `STREAM.INFO.${name}`,
      undefined,
      deadlineMs,
      STREAM_NOT_FOUND_CODE,
    )
    if (found.error === undefined) return this.#updateConfig(found.value.config, deadlineMs)
    const made = await this.#jetstream.call<StreamInfo>(
      `STREAM.CREATE.${name}`,
      this.#desiredConfig(),
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
      STREAM_NOT_FOUND_CODE,
    )
    if (theirs.error === undefined) return this.#updateConfig(theirs.value.config, deadlineMs)
    throw new StoreError(
      `nats: ${made.error.description}: the stream ${name} could not be created (use another bucket)`,
    )
  }

  async #updateConfig(found: StreamConfig, deadlineMs: number): Promise<StreamConfig> {
    const better = this.#configChange(found)
    if (better === undefined) return found
    const call = `STREAM.UPDATE.${this.name}`
    const answer = await this.#jetstream.call<StreamInfo>(call, better, deadlineMs)
    if (answer.error !== undefined) throw new StoreError('nats: the stream could not be changed')
    return answer.value.config
  }
}
