import { createHmac } from 'node:crypto'
import { BackOff } from '../core/back-off.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import { policyError } from '../core/errors.ts'
import { type Logger, SILENT } from '../core/logger.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'
import type { Alert } from './alert-monitor.ts'

/** Used part of `fetch`. */
export type Post = (
  url: string,
  request: {
    readonly method: 'POST'
    readonly headers: Readonly<Record<string, string>>
    readonly body: string
    readonly signal: AbortSignal
    readonly redirect: 'error'
  },
) => Promise<{ readonly status: number; readonly body?: { cancel(): Promise<void> } | null }>

export interface WebhookOptions {
  readonly url: string
  /** Secret that signs the requests. */
  readonly secret: string
  readonly clock?: Clock | undefined
  readonly logger?: Logger | undefined
  /** Maximum attempts per alert. Default: 8. */
  readonly tries?: number | undefined
  /** Longest first wait, doubled after each attempt up to `maxWaitMs`. Default: 1,000 and 60,000. */
  readonly waitMs?: number | undefined
  readonly maxWaitMs?: number | undefined
  /** Longest wait for a response. Default: 5,000. */
  readonly timeoutMs?: number | undefined
  /** Random source in [0, 1). Default: Math.random. */
  readonly chance?: (() => number) | undefined
  /** Default: fetch. */
  readonly post?: Post | undefined
}

const OPTIONS: KnownOptions<WebhookOptions> = {
  url: true,
  secret: true,
  clock: true,
  logger: true,
  tries: true,
  waitMs: true,
  maxWaitMs: true,
  timeoutMs: true,
  chance: true,
  post: true,
}

export interface WebhookStats {
  readonly waiting: number
  readonly delivered: number
  /** Lost alerts: refused, out of attempts, or dropped from a full queue. */
  readonly lost: number
  /** Requests that failed, were refused or got no response in time. */
  readonly failedAttempts: number
}

/**
 * Signature header of each attempt: `t` is seconds since the epoch, `v1` the HMAC-SHA-256 of `t.body` in hexadecimal.
 */
export const SIGNATURE_HEADER = 'topicgate-signature'
/** Id header of an alert's state; the same for every attempt, so that the receiver can detect repeats. */
export const WEBHOOK_ID_HEADER = 'topicgate-delivery'

/**
 * Posts alerts as JSON, in order, one at a time, each once. Retries after random waits that double
 * (`BackOff`). A response of 400 to 499 other than 408 and 429 is final. At most
 * {@link MAX_SIZES.webhookQueue} alerts wait; beyond that the oldest is dropped.
 */
export class Webhook {
  readonly #options: WebhookOptions
  readonly #clock: Clock
  readonly #logger: Logger
  /** Alerts by delivery id, in order. */
  readonly #waiting = new Map<string, Alert>()
  readonly #recentDeliveries: string[] = []
  #isDelivering = false
  #delivered = 0
  #lost = 0
  #failedAttempts = 0
  #closed = false
  #cancelWait: (() => void) | undefined
  readonly #requests = new Set<AbortController>()

  /** Throws PolicyError for a URL that is not http or https, and for a missing secret. */
  constructor(options: WebhookOptions) {
    checkOptionNames(options, OPTIONS)
    const { url, secret } = options
    if (!URL.canParse(url) || !/^https?:$/.test(new URL(url).protocol))
      throw policyError('url', 'this is not an http or https URL', 'write https://host/path')
    if (secret === '') throw policyError('secret', 'is empty', 'without it anyone could send alerts')
    this.#options = options
    this.#clock = options.clock ?? systemClock
    this.#logger = options.logger ?? SILENT
  }

  /**
   * Queues an alert unless it is queued already or was sent recently. Never throws, so it can be passed as `onAlert`.
   */
  readonly send = (alert: Alert): void => {
    const delivery = `${alert.id}-${alert.state}`
    if (this.#closed || this.#waiting.has(delivery) || this.#recentDeliveries.includes(delivery)) return
    this.#waiting.set(delivery, alert)
    if (this.#waiting.size > MAX_SIZES.webhookQueue) {
      // The first is being sent.
      const [, oldest] = this.#waiting.keys()
      this.#waiting.delete(oldest!)
      this.#lost++
    }
    if (!this.#isDelivering) void this.#deliver()
  }

  stats(): WebhookStats {
    return {
      waiting: this.#waiting.size,
      delivered: this.#delivered,
      lost: this.#lost,
      failedAttempts: this.#failedAttempts,
    }
  }

  /** Posts a signed test, once: `{"name": "test"}`. Returns what is wrong; undefined if the receiver accepts it. */
  async test(): Promise<string | undefined> {
    const atMs = this.#clock.now()
    const problem = await this.#post(`test-${atMs}`, JSON.stringify({ name: 'test', atMs }))
    return problem?.text
  }

  /** Aborts the current requests; waiting alerts are lost. */
  close(): void {
    this.#closed = true
    this.#lost += this.#waiting.size
    this.#waiting.clear()
    this.#cancelWait?.()
    for (const request of this.#requests) request.abort()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.close()
  }

  async #deliver(): Promise<void> {
    this.#isDelivering = true
    for (let next = this.#oldest(); next !== undefined && !this.#closed; next = this.#oldest()) {
      const [delivery, alert] = next
      const accepted = await this.#deliverWithRetries(delivery, JSON.stringify(alert))
      if (this.#closed) break
      this.#waiting.delete(delivery)
      this.#recentDeliveries.push(delivery)
      if (this.#recentDeliveries.length > MAX_SIZES.webhookQueue) this.#recentDeliveries.shift()
      if (accepted) this.#delivered++
      else this.#lost++
    }
    this.#isDelivering = false
  }

  #oldest(): [string, Alert] | undefined {
    return this.#waiting.entries().next().value
  }

  /** Retries until success or the last attempt; returns true on success. */
  async #deliverWithRetries(delivery: string, body: string): Promise<boolean> {
    const { tries = 8, waitMs = 1_000, maxWaitMs = 60_000, chance } = this.#options
    const backOff = new BackOff({ fromMs: Math.min(waitMs, maxWaitMs), toMs: maxWaitMs }, chance)
    for (let attempt = 1; ; attempt++) {
      const problem = await this.#post(delivery, body)
      if (problem === undefined) return true
      if (this.#closed) return false
      this.#failedAttempts++
      if (problem.isFinal || attempt >= tries) {
        this.#logger.warn({ delivery, attempt, problem: problem.text }, 'an alert was not delivered')
        return false
      }
      await this.#wait(backOff.nextMs())
      if (this.#closed) return false
    }
  }

  async #post(delivery: string, body: string): Promise<{ isFinal: boolean; text: string } | undefined> {
    const { url, secret, timeoutMs = 5_000, post = fetch as Post } = this.#options
    const controller = new AbortController()
    this.#requests.add(controller)
    const cancel = this.#clock.after(timeoutMs, () => controller.abort())
    const seconds = Math.floor(this.#clock.now() / 1_000)
    const headers = {
      'content-type': 'application/json',
      [SIGNATURE_HEADER]: `t=${seconds},v1=${sign(secret, seconds, body)}`,
      [WEBHOOK_ID_HEADER]: delivery,
    }
    try {
      const { status, body: answer } = await post(url, {
        method: 'POST',
        headers,
        body,
        signal: controller.signal,
        redirect: 'error',
      })
      void answer?.cancel().catch(() => {})
      if (status >= 200 && status < 300) return undefined
      const isFinal = status >= 400 && status < 500 && status !== 408 && status !== 429
      return { isFinal, text: `status ${status}` }
    } catch (cause) {
      // A URL may hold a password, and an error may hold the URL.
      const text = controller.signal.aborted ? `no answer within ${timeoutMs} ms` : nameOf(cause)
      return { isFinal: false, text }
    } finally {
      cancel()
      this.#requests.delete(controller)
    }
  }

  #wait(ms: number): Promise<void> {
    return new Promise(resolve => {
      const cancel = this.#clock.after(ms, resolve)
      this.#cancelWait = () => {
        cancel()
        resolve()
      }
    })
  }
}

function sign(secret: string, seconds: number, body: string): string {
  return createHmac('sha256', secret).update(`${seconds}.${body}`).digest('hex')
}

function nameOf(cause: unknown): string {
  if (!(cause instanceof Error)) return 'failed'
  const inner = cause.cause as { readonly code?: unknown } | undefined
  return typeof inner?.code === 'string' ? inner.code : cause.name
}
