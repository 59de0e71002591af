import { type Clock, limitWait } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import { policyError, StoreError } from '../core/errors.ts'
import type { Logger } from '../core/logger.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { MaybePromise, Message } from '../core/message.ts'
import type { OptionNames } from '../core/option-names.ts'
import { SlicedWork } from '../core/sliced-work.ts'
import type { RuleLookup } from '../outcomes/rule-info.ts'
import { type Holder, HoldShares } from './hold-shares.ts'
import type { HeldKeyQueue, HoldBounds, SenderQueueBudget, ToQueue } from './types.ts'

export interface GuardOptions {
  /** Most messages held for one sender, and for all. Default: 1,000 and 100,000. */
  readonly maxHeldPerSender?: number | undefined
  readonly maxHeldTotal?: number | undefined
  /** Most payload bytes held for one sender (a single larger message is still held), and for all. Default: 4 and 256 MiB. */
  readonly maxHeldBytesPerSender?: number | undefined
  readonly maxHeldBytesTotal?: number | undefined
  /** The longest a message is held. Default: 300,000. */
  readonly maxHoldMs?: number | undefined
  /**
   * How long an answer that comes later may take before the fallback answers. Default: 1,000, beyond what the gate's store
   * may take by its own time limit.
   */
  readonly decideTimeoutMs?: number | undefined
  /** What is answered when middleware of the user's own fails or is late. Default: allow. */
  readonly middlewareFallback?: 'allow' | 'deny' | undefined
  /** What becomes of a message that finds no room or would wait too long. Default: drop. */
  readonly overflow?: 'drop' | 'disconnect' | undefined
  /**
   * What the guard holds: `throttle` alone, or also what rules `queue` and keep as `latest`; what it does not hold is
   * enacted as it was decided. Whoever says `all` gives messages that own their payload. Default: throttle.
   */
  readonly holds?: 'throttle' | 'all' | undefined
  readonly logger?: Logger | undefined
}

export const GUARD_OPTIONS: OptionNames<GuardOptions> = {
  maxHeldPerSender: true,
  maxHeldTotal: true,
  maxHeldBytesPerSender: true,
  maxHeldBytesTotal: true,
  maxHoldMs: true,
  decideTimeoutMs: true,
  middlewareFallback: true,
  overflow: true,
  holds: true,
  logger: true,
}

/** Remedies for names that options of guards once had. */
export const GUARD_REMEDIES = {
  fallback: 'write middlewareFallback; a store has a fallback of its own, see openStore',
}

/** A store, as far as a guard knows it. */
export interface BoundedStore {
  /** The longest a decision takes; undefined if the store has no limit. */
  readonly answersWithinMs?: number | undefined
  /** Who decides in its place. */
  readonly fallback?: string | undefined
}

export interface GuardStats {
  /** Messages and payload bytes held now. */
  readonly held: number
  readonly heldBytes: number
  /** Most messages ever held at once. */
  readonly heldPeak: number
  /** Refused because there was no room, a larger holder had to give way, or the wait was too long. */
  readonly overflowed: number
  /** Held messages dropped because a newer one of their topic came. */
  readonly superseded: number
  /** Held messages forgotten because their sender had gone or the guard was closed. */
  readonly discarded: number
  /** Decisions the fallback made, and of these the ones made because an answer was late. */
  readonly fallbacks: number
  readonly timeouts: number
}

export const ALLOWED_BY_FALLBACK: Decision = Object.freeze({
  allowed: true,
  outcome: 'deliver',
  reason: 'store_unavailable',
  retryAfterMs: 0,
  fallback: true,
})
export const DENIED_BY_FALLBACK: Decision = Object.freeze({
  allowed: false,
  outcome: 'reject',
  reason: 'store_unavailable',
  retryAfterMs: 1_000,
  fallback: true,
})

/** Causes of failure logged once each; beyond them failures are only counted. */
const LOGGED_CAUSES = 32

/** The books of a guard: what is held, the bounds, the fallback. */
export class HoldBudget implements SenderQueueBudget {
  readonly clock: Clock
  readonly ask: (message: Message) => MaybePromise<Decision>
  closed = false
  readonly work: SlicedWork
  readonly #bounds: HoldBounds
  readonly #book: RuleLookup
  readonly #park: (ruleQueues: ToQueue) => void
  readonly #parksAll: boolean
  readonly #perSender: number
  readonly #total: number
  readonly #bytesPerSender: number
  readonly #bytesTotal: number
  readonly #timeoutMs: number
  readonly #fallback: Decision
  readonly #store: BoundedStore | undefined
  readonly #logger: Logger | undefined
  readonly #busy = new Set<HeldKeyQueue>()
  readonly #causes = new Set<string>()
  readonly #shares = new HoldShares()
  #isMakingRoom = false
  #isListening = false
  #held = 0
  #heldBytes = 0
  #heldPeak = 0
  #overflowed = 0
  #superseded = 0
  #discarded = 0
  #fallbacks = 0
  #timeouts = 0

  constructor(
    ask: (message: Message) => MaybePromise<Decision>,
    book: RuleLookup,
    park: (ruleQueues: ToQueue) => void,
    clock: Clock,
    options: GuardOptions & { readonly decideTimeoutMs: number; readonly store?: BoundedStore | undefined },
  ) {
    this.ask = ask
    this.#book = book
    this.#park = park
    this.#parksAll = options.holds === 'all'
    this.clock = clock
    this.work = new SlicedWork(clock)
    this.#bounds = {
      maxHoldMs: bounded('maxHoldMs', options.maxHoldMs ?? MAX_SIZES.holdMs),
      overflow: options.overflow ?? 'drop',
      isOfRule: false,
    }
    this.#perSender = bounded('maxHeldPerSender', options.maxHeldPerSender ?? MAX_SIZES.heldPerSender)
    this.#total = bounded('maxHeldTotal', options.maxHeldTotal ?? MAX_SIZES.heldTotal)
    this.#bytesPerSender = bounded(
      'maxHeldBytesPerSender',
      options.maxHeldBytesPerSender ?? MAX_SIZES.heldBytesPerSender,
    )
    this.#bytesTotal = bounded('maxHeldBytesTotal', options.maxHeldBytesTotal ?? MAX_SIZES.heldBytesTotal)
    this.#timeoutMs = bounded('decideTimeoutMs', options.decideTimeoutMs)
    this.#fallback = options.middlewareFallback === 'deny' ? DENIED_BY_FALLBACK : ALLOWED_BY_FALLBACK
    this.#store = options.store
    this.#logger = options.logger
  }

  reserve(keyQueue: HeldKeyQueue, holder: Holder, message: Message, sizeBytes: number): boolean {
    if (this.closed) return false
    // A lone message larger than its sender's bytes would otherwise never pass, however long it waited.
    const most = keyQueue.maxHeldBytes ?? this.#bytesPerSender
    const fits = keyQueue.held === 0 || keyQueue.heldBytes + sizeBytes <= most
    if (!fits || keyQueue.held >= (keyQueue.maxHeld ?? this.#perSender)) return false
    if (!this.#makeRoom(holder, message, sizeBytes)) return false
    this.#held++
    this.#heldBytes += sizeBytes
    if (this.#held > this.#heldPeak) this.#heldPeak = this.#held
    this.#shares.count(holder.account, 1, sizeBytes, message.sender.ip)
    if (keyQueue.held === 0) {
      keyQueue.askedVersion = this.work.version
      this.#busy.add(keyQueue)
      if (!this.#isListening) this.#listen()
    }
    return true
  }

  /** Has the largest holders give way while all room is in use. */
  #makeRoom({ account }: Holder, { qos, sender }: Message, sizeBytes: number): boolean {
    for (;;) {
      const lacksPlace = this.#held >= this.#total
      if (!lacksPlace && this.#heldBytes + sizeBytes <= this.#bytesTotal) return true
      const victim = this.#isMakingRoom
        ? undefined
        : lacksPlace
          ? this.#shares.victimFor(account, 'messages', 1, sender.ip)
          : this.#shares.victimFor(account, 'bytes', sizeBytes, sender.ip)
      if (victim === undefined || !this.#hasGivenWay(victim)) {
        // What a client sends again must not be lost: its connection is not read meanwhile.
        const isFew = account.messages < MAX_SIZES.heldWhenFull
        return (qos ?? 0) > 0 && isFew && account.bytes + sizeBytes <= MAX_SIZES.heldBytesWhenFull
      }
    }
  }

  #hasGivenWay(victim: Holder): boolean {
    // Enacting a refusal may bring a message that needs room itself.
    this.#isMakingRoom = true
    try {
      return victim.giveWay()
    } finally {
      this.#isMakingRoom = false
    }
  }

  grow(bytes: number): boolean {
    if (this.#heldBytes + bytes > this.#bytesTotal) return false
    this.#heldBytes += bytes
    return true
  }

  transfer(from: Holder, fromBytes: number, to: Holder, toBytes: number, { sender }: Message): void {
    this.#shares.count(to.account, 1, toBytes, sender.ip)
    this.#shares.count(from.account, -1, -fromBytes, undefined)
  }

  release(keyQueue: HeldKeyQueue, holder: Holder, sizeBytes: number): void {
    this.#held--
    this.#heldBytes -= sizeBytes
    this.#shares.count(holder.account, -1, -sizeBytes, undefined)
    if (keyQueue.held === 0) this.#busy.delete(keyQueue)
  }

  boundsOf(decision: Decision | undefined): HoldBounds {
    const own = decision?.rule === undefined ? undefined : this.#book.ruleOf?.(decision.rule)?.exceeded.hold
    if (own === undefined) return this.#bounds
    return {
      maxHoldMs: Math.min(own.upToMs ?? Infinity, this.#bounds.maxHoldMs),
      overflow: own.then ?? this.#bounds.overflow,
      isOfRule: own.upToMs !== undefined,
    }
  }

  #listen(): void {
    this.#isListening = true
    this.#book.on?.('changed', this.#onChanged)
  }

  /** Listens only while something is held, so that a gate keeps no guard that is forgotten. */
  readonly #onChanged = (): void => {
    if (this.#held === 0 || this.closed) {
      this.#isListening = false
      this.#book.off?.('changed', this.#onChanged)
      return
    }
    this.work.version++
    this.work.askAgain(this.#busy.values())
  }

  overflowed(): void {
    this.#overflowed++
  }

  superseded(): void {
    this.#superseded++
  }

  park(ruleQueues: ToQueue): boolean {
    if (!this.#parksAll || this.closed) return false
    this.#park(ruleQueues)
    return true
  }

  discarded(count: number): void {
    this.#discarded += count
  }

  /** The answer, or the fallback when it fails or takes too long; a later answer is ignored. */
  await(answer: Promise<Decision>): Promise<Decision> {
    return this.within(answer, cause => this.fall(cause))
  }

  /** What is answered within the guard's time, else what `otherwise` makes of the failure. Never rejects. */
  within<T>(answer: Promise<T>, otherwise: (cause: unknown) => T): Promise<T> {
    return new Promise(resolve => {
      const cancel = limitWait(this.clock, this.#timeoutMs, () => {
        this.#timeouts++
        resolve(otherwise(this.#lateError()))
      })
      answer.then(
        settled => {
          cancel()
          resolve(settled)
        },
        (cause: unknown) => {
          cancel()
          resolve(otherwise(cause))
        },
      )
    })
  }

  /** The store's fallback decides for a store; what it cannot count is refused. */
  fall(cause: unknown): Decision {
    const fallback = cause instanceof StoreError ? this.#storeFallback() : this.#fallback
    this.#fallbacks++
    this.report(cause, fallback)
    return fallback
  }

  #storeFallback(): Decision {
    return this.#store?.fallback === 'allow' ? ALLOWED_BY_FALLBACK : DENIED_BY_FALLBACK
  }

  /** A store that may take as long as that is the one that is late. */
  #lateError(): Error {
    const text = `no answer within ${this.#timeoutMs} ms`
    const isOfStore =
      this.#store !== undefined && (this.#store.answersWithinMs ?? Infinity) >= this.#timeoutMs
    return isOfStore ? new StoreError(text) : new Error(text)
  }

  /** Logs a failure, once for each cause. Never throws. */
  report(cause: unknown, fallback = this.#fallback): void {
    if (this.#logger === undefined || this.#causes.size >= LOGGED_CAUSES) return
    try {
      const text = cause instanceof Error ? cause.message : String(cause)
      if (this.#causes.has(text)) return
      this.#causes.add(text)
      this.#logger.error({ err: cause, fallback: fallback.outcome }, 'gate failed, the fallback answers')
    } catch {
      // Neither a cause that cannot be read nor a logger that throws may stop a broker.
    }
  }

  stats(): GuardStats {
    return {
      held: this.#held,
      heldBytes: this.#heldBytes,
      heldPeak: this.#heldPeak,
      overflowed: this.#overflowed,
      superseded: this.#superseded,
      discarded: this.#discarded,
      fallbacks: this.#fallbacks,
      timeouts: this.#timeouts,
    }
  }

  close(decision: Decision | undefined): void {
    this.closed = true
    this.work.close()
    if (this.#isListening) this.#book.off?.('changed', this.#onChanged)
    this.#isListening = false
    for (const keyQueue of [...this.#busy]) keyQueue.flush(decision)
  }
}

function bounded(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value > 0) return value
  throw policyError(name, `${value} is not a whole number above 0`, `leave ${name} out for its default`)
}
