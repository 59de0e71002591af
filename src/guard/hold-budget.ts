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
import type { HeldQueue, HoldBounds, QueueRequest, SenderQueueBudget } from './types.ts'

export interface GuardOptions {
  /** Most messages held for one sender, and for all. Default: 1,000 and 100,000. */
  readonly maxHeldPerSender?: number | undefined
  readonly maxHeldTotal?: number | undefined
  /** Most payload bytes held for one sender (a single larger message is still held), and for all. Default: 4 and 256 MiB. */
  readonly maxHeldBytesPerSender?: number | undefined
  readonly maxHeldBytesTotal?: number | undefined
  /** Longest time a message is held. Default: 300,000. */
  readonly maxHoldMs?: number | undefined
  /**
   * Longest wait for an answer before the fallback decides. Default: 1,000 more than the time limit of the gate's
   * store.
   */
  readonly decideTimeoutMs?: number | undefined
  /** Decision if custom middleware fails or is late. Default: allow. */
  readonly middlewareFallback?: 'allow' | 'deny' | undefined
  /** Outcome of a message that finds no room or would wait too long. Default: drop. */
  readonly overflow?: 'drop' | 'disconnect' | undefined
  /**
   * Messages that the guard holds: `throttle` alone, or `all`, which adds those that rules `queue` or keep as `latest`.
   * Other outcomes are enacted as decided. With `all`, messages must hold their payload. Default: throttle.
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

/** Remedies for former names of guard options. */
export const GUARD_REMEDIES = {
  fallback: 'write middlewareFallback; a store has a fallback of its own, see openStore',
}

/** Part of a store that a guard uses. */
export interface BoundedStore {
  /** Longest time a decision takes, or undefined if the store has no limit. */
  readonly answersWithinMs?: number | undefined
  /** Name of the store's fallback. */
  readonly fallback?: string | undefined
}

export interface GuardStats {
  /** Messages and payload bytes held now. */
  readonly held: number
  readonly heldBytes: number
  /** Most messages ever held at once. */
  readonly heldPeak: number
  /** Messages refused because there was no room, a larger holder had to give way, or the wait was too long. */
  readonly overflowed: number
  /** Held messages dropped because a newer one of their topic request. */
  readonly superseded: number
  /** Held messages discarded because their connection ended or the guard was closed. */
  readonly discarded: number
  /** Decisions of the fallback, and those of them caused by a late answer. */
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

/** Most causes of failure that are logged, once each. Later causes are only counted. */
const LOGGED_CAUSES = 32

/** Budget of a guard for held messages, with its bounds, counts and fallback. */
export class HoldBudget implements SenderQueueBudget {
  readonly clock: Clock
  readonly ask: (message: Message) => MaybePromise<Decision>
  closed = false
  readonly work: SlicedWork
  readonly #bounds: HoldBounds
  readonly #ruleLookup: RuleLookup
  readonly #enqueue: (request: QueueRequest) => void
  readonly #queuesByRule: boolean
  readonly #perSender: number
  readonly #total: number
  readonly #bytesPerSender: number
  readonly #bytesTotal: number
  readonly #timeoutMs: number
  readonly #fallback: Decision
  readonly #store: BoundedStore | undefined
  readonly #logger: Logger | undefined
  readonly #holdingQueues = new Set<HeldQueue>()
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
    ruleLookup: RuleLookup,
    enqueue: (request: QueueRequest) => void,
    clock: Clock,
    options: GuardOptions & { readonly decideTimeoutMs: number; readonly store?: BoundedStore | undefined },
  ) {
    this.ask = ask
    this.#ruleLookup = ruleLookup
    this.#enqueue = enqueue
    this.#queuesByRule = options.holds === 'all'
    this.clock = clock
    this.work = new SlicedWork(clock)
    this.#bounds = {
      maxHoldMs: checkPositive('maxHoldMs', options.maxHoldMs ?? MAX_SIZES.holdMs),
      overflow: options.overflow ?? 'drop',
      isOfRule: false,
    }
    this.#perSender = checkPositive('maxHeldPerSender', options.maxHeldPerSender ?? MAX_SIZES.heldPerSender)
    this.#total = checkPositive('maxHeldTotal', options.maxHeldTotal ?? MAX_SIZES.heldTotal)
    this.#bytesPerSender = checkPositive(
      'maxHeldBytesPerSender',
      options.maxHeldBytesPerSender ?? MAX_SIZES.heldBytesPerSender,
    )
    this.#bytesTotal = checkPositive(
      'maxHeldBytesTotal',
      options.maxHeldBytesTotal ?? MAX_SIZES.heldBytesTotal,
    )
    this.#timeoutMs = checkPositive('decideTimeoutMs', options.decideTimeoutMs)
    this.#fallback = options.middlewareFallback === 'deny' ? DENIED_BY_FALLBACK : ALLOWED_BY_FALLBACK
    this.#store = options.store
    this.#logger = options.logger
  }

  reserve(queue: HeldQueue, holder: Holder, message: Message, sizeBytes: number): boolean {
    if (this.closed) return false
    // A single message may exceed its sender's bytes. Otherwise it could never pass.
    const maxBytes = queue.maxHeldBytes ?? this.#bytesPerSender
    const fits = queue.held === 0 || queue.heldBytes + sizeBytes <= maxBytes
    if (!fits || queue.held >= (queue.maxHeld ?? this.#perSender)) return false
    if (!this.#makeRoom(holder, message, sizeBytes)) return false
    this.#held++
    this.#heldBytes += sizeBytes
    if (this.#held > this.#heldPeak) this.#heldPeak = this.#held
    this.#shares.addHeld(holder.account, 1, sizeBytes, message.sender.ip)
    if (queue.held === 0) {
      queue.askedVersion = this.work.version
      this.#holdingQueues.add(queue)
      if (!this.#isListening) this.#listen()
    }
    return true
  }

  /** Refuses messages of the largest holders until there is room. */
  #makeRoom({ account }: Holder, { qos, sender }: Message, sizeBytes: number): boolean {
    for (;;) {
      const lacksMessages = this.#held >= this.#total
      if (!lacksMessages && this.#heldBytes + sizeBytes <= this.#bytesTotal) return true
      const victim = this.#isMakingRoom
        ? undefined
        : lacksMessages
          ? this.#shares.victimFor(account, 'messages', 1, sender.ip)
          : this.#shares.victimFor(account, 'bytes', sizeBytes, sender.ip)
      if (victim === undefined || !this.#refuseNewestOf(victim)) {
        // A message that its client resends must not be lost. Its connection is not read meanwhile.
        const isBelowMinimum = account.messages < MAX_SIZES.heldWhenFull
        return (qos ?? 0) > 0 && isBelowMinimum && account.bytes + sizeBytes <= MAX_SIZES.heldBytesWhenFull
      }
    }
  }

  #refuseNewestOf(victim: Holder): boolean {
    // Enacting a refusal may bring in a message that needs room itself.
    this.#isMakingRoom = true
    try {
      return victim.refuseNewest()
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
    this.#shares.addHeld(to.account, 1, toBytes, sender.ip)
    this.#shares.addHeld(from.account, -1, -fromBytes, undefined)
  }

  release(queue: HeldQueue, holder: Holder, sizeBytes: number): void {
    this.#held--
    this.#heldBytes -= sizeBytes
    this.#shares.addHeld(holder.account, -1, -sizeBytes, undefined)
    if (queue.held === 0) this.#holdingQueues.delete(queue)
  }

  boundsOf(decision: Decision | undefined): HoldBounds {
    const hold =
      decision?.rule === undefined ? undefined : this.#ruleLookup.ruleOf?.(decision.rule)?.exceeded.hold
    if (hold === undefined) return this.#bounds
    return {
      maxHoldMs: Math.min(hold.upToMs ?? Infinity, this.#bounds.maxHoldMs),
      overflow: hold.then ?? this.#bounds.overflow,
      isOfRule: hold.upToMs !== undefined,
    }
  }

  #listen(): void {
    this.#isListening = true
    this.#ruleLookup.on?.('changed', this.#onChanged)
  }

  /** Listens only while messages are held, so that a gate does not keep a forgotten guard alive. */
  readonly #onChanged = (): void => {
    if (this.#held === 0 || this.closed) {
      this.#isListening = false
      this.#ruleLookup.off?.('changed', this.#onChanged)
      return
    }
    this.work.version++
    this.work.askAgain(this.#holdingQueues.values())
  }

  countOverflow(): void {
    this.#overflowed++
  }

  countSuperseded(): void {
    this.#superseded++
  }

  enqueue(request: QueueRequest): boolean {
    if (!this.#queuesByRule || this.closed) return false
    this.#enqueue(request)
    return true
  }

  countDiscarded(count: number): void {
    this.#discarded += count
  }

  /** Reports that a message may not be delivered, whatever the gate has decided or will decide. Never throws. */
  forgetPayload(message: Message): void {
    try {
      this.#ruleLookup.forgetPayload?.(message)
    } catch (cause) {
      this.logFailure(cause)
    }
  }

  /** Returns the answer, or the fallback's decision if it fails or is late. A later answer is ignored. */
  awaitDecision(answer: Promise<Decision>, message: Message): Promise<Decision> {
    return this.withTimeout(answer, cause => {
      this.forgetPayload(message)
      return this.applyFallback(cause)
    })
  }

  /** Returns the answer, or the result of `otherwise` if it fails or exceeds the guard's time limit. Never rejects. */
  withTimeout<T>(answer: Promise<T>, otherwise: (cause: unknown) => T): Promise<T> {
    return new Promise(resolve => {
      const cancel = limitWait(this.clock, this.#timeoutMs, () => {
        this.#timeouts++
        resolve(otherwise(this.#lateError()))
      })
      answer.then(
        value => {
          cancel()
          resolve(value)
        },
        (cause: unknown) => {
          cancel()
          resolve(otherwise(cause))
        },
      )
    })
  }

  /** Returns the fallback's decision: the store's if the store failed. A store that could only count refuses. */
  applyFallback(cause: unknown): Decision {
    const fallback = cause instanceof StoreError ? this.#storeFallback() : this.#fallback
    this.#fallbacks++
    this.logFailure(cause, fallback)
    return fallback
  }

  #storeFallback(): Decision {
    return this.#store?.fallback === 'allow' ? ALLOWED_BY_FALLBACK : DENIED_BY_FALLBACK
  }

  /** Blames the store if its hold time limit is as long as the guard's. */
  #lateError(): Error {
    const text = `no answer within ${this.#timeoutMs} ms`
    const isOfStore =
      this.#store !== undefined && (this.#store.answersWithinMs ?? Infinity) >= this.#timeoutMs
    return isOfStore ? new StoreError(text) : new Error(text)
  }

  /** Logs each cause of failure once. Never throws. */
  logFailure(cause: unknown, fallback = this.#fallback): void {
    if (this.#logger === undefined || this.#causes.size >= LOGGED_CAUSES) return
    try {
      const text = cause instanceof Error ? cause.message : String(cause)
      if (this.#causes.has(text)) return
      this.#causes.add(text)
      this.#logger.error({ err: cause, fallback: fallback.outcome }, 'gate failed, the fallback answers')
    } catch {
      // A cause that cannot be read or a logger that throws must not stop a broker.
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
    if (this.#isListening) this.#ruleLookup.off?.('changed', this.#onChanged)
    this.#isListening = false
    for (const queue of [...this.#holdingQueues]) queue.flush(decision)
  }
}

function checkPositive(name: string, value: number): number {
  if (Number.isSafeInteger(value) && value > 0) return value
  throw policyError(name, `${value} is not a whole number above 0`, `leave ${name} out for its default`)
}
