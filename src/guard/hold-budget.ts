import type { Clock } from '../core/clock.ts'
import type { Decision, Outcome } from '../core/decision.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Message } from '../core/message.ts'
import { type SlicedTask, SlicedWork } from '../core/sliced-work.ts'
import type { RuleInfoSource } from '../outcomes/rule-info.ts'
import { type HeldMessageAccount, HoldEvictionPolicy } from './hold-eviction-policy.ts'
import { checkPositive, type GuardOptions } from './options.ts'
import type { SafeGate } from './safe-gate.ts'

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

/** Queue of held messages, as seen by a guard. */
export interface HeldQueue extends SlicedTask {
  readonly held: number
  readonly heldBytes: number
  /** Bounds of this queue. Default: the guard's bounds for one sender. */
  readonly maxHeld?: number | undefined
  readonly maxHeldBytes?: number | undefined
  flush(decision?: Decision): void
}

/** Longest time a message may wait, and the outcome after that time or if there is no room. */
export interface HoldTimeLimit {
  readonly maxHoldMs: number
  readonly overflow: Outcome
  /** True if the rule sets the time. */
  readonly isOfRule: boolean
}

/** Bounds and counts of all messages that a guard holds. */
export class HoldBudget {
  readonly clock: Clock
  readonly safeGate: SafeGate
  readonly work: SlicedWork
  isClosed = false
  readonly #bounds: HoldTimeLimit
  readonly #ruleLookup: RuleInfoSource
  readonly #perSender: number
  readonly #total: number
  readonly #bytesPerSender: number
  readonly #bytesTotal: number
  readonly #holdingQueues = new Set<HeldQueue>()
  readonly #evictionPolicy = new HoldEvictionPolicy()
  #isMakingRoom = false
  #isListening = false
  #held = 0
  #heldBytes = 0
  #heldPeak = 0
  #overflowed = 0
  #superseded = 0
  #discarded = 0

  constructor(ruleLookup: RuleInfoSource, safeGate: SafeGate, clock: Clock, options: GuardOptions) {
    this.#ruleLookup = ruleLookup
    this.safeGate = safeGate
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
  }

  /** Reserves room for a message. Returns false if a bound is reached and no larger holder gives way. */
  reserve(queue: HeldQueue, account: HeldMessageAccount, message: Message, sizeBytes: number): boolean {
    if (this.isClosed) return false
    // A single message may exceed its sender's bytes. Otherwise it could never pass.
    const maxBytes = queue.maxHeldBytes ?? this.#bytesPerSender
    const fits = queue.held === 0 || queue.heldBytes + sizeBytes <= maxBytes
    if (!fits || queue.held >= (queue.maxHeld ?? this.#perSender)) return false
    if (!this.#makeRoom(account, message, sizeBytes)) return false
    this.#held++
    this.#heldBytes += sizeBytes
    if (this.#held > this.#heldPeak) this.#heldPeak = this.#held
    this.#evictionPolicy.addHeld(account, 1, sizeBytes, message.sender.ip)
    if (queue.held === 0) {
      queue.askedVersion = this.work.version
      this.#holdingQueues.add(queue)
      if (!this.#isListening) this.#listen()
    }
    return true
  }

  /** Refuses messages of the largest holders until there is room. */
  #makeRoom(account: HeldMessageAccount, { qos, sender }: Message, sizeBytes: number): boolean {
    for (;;) {
      const lacksMessages = this.#held >= this.#total
      if (!lacksMessages && this.#heldBytes + sizeBytes <= this.#bytesTotal) return true
      const victim = this.#isMakingRoom
        ? undefined
        : lacksMessages
          ? this.#evictionPolicy.victimFor(account, 'messages', 1, sender.ip)
          : this.#evictionPolicy.victimFor(account, 'bytes', sizeBytes, sender.ip)
      if (victim === undefined || !this.#refuseNewestOf(victim)) {
        // A message that its client resends must not be lost. Its connection is not read meanwhile.
        const isBelowMinimum = account.messages < MAX_SIZES.heldWhenFull
        return (qos ?? 0) > 0 && isBelowMinimum && account.bytes + sizeBytes <= MAX_SIZES.heldBytesWhenFull
      }
    }
  }

  #refuseNewestOf(victim: HeldMessageAccount): boolean {
    // Enacting a refusal may bring in a message that needs room itself.
    this.#isMakingRoom = true
    try {
      return victim.refuseNewest()
    } finally {
      this.#isMakingRoom = false
    }
  }

  /** Reserves more bytes for held messages; a negative number releases them. Returns false if a bound is reached. */
  grow(bytes: number): boolean {
    if (this.#heldBytes + bytes > this.#bytesTotal) return false
    this.#heldBytes += bytes
    return true
  }

  /** Moves the room of one account's message to the message of another account that replaces it. */
  transfer(
    from: HeldMessageAccount,
    fromBytes: number,
    to: HeldMessageAccount,
    toBytes: number,
    { sender }: Message,
  ): void {
    this.#evictionPolicy.addHeld(to, 1, toBytes, sender.ip)
    this.#evictionPolicy.addHeld(from, -1, -fromBytes, undefined)
  }

  /** Releases room. The queue's own counts no longer include the message. */
  release(queue: HeldQueue, account: HeldMessageAccount, sizeBytes: number): void {
    this.#held--
    this.#heldBytes -= sizeBytes
    this.#evictionPolicy.addHeld(account, -1, -sizeBytes, undefined)
    if (queue.held === 0) this.#holdingQueues.delete(queue)
  }

  /** Returns the bounds on holding a message: the rule's own, else the guard's. */
  boundsOf(decision: Decision | undefined): HoldTimeLimit {
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
    if (this.#held === 0 || this.isClosed) {
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

  countDiscarded(count: number): void {
    this.#discarded += count
  }

  stats(): GuardStats {
    return {
      held: this.#held,
      heldBytes: this.#heldBytes,
      heldPeak: this.#heldPeak,
      overflowed: this.#overflowed,
      superseded: this.#superseded,
      discarded: this.#discarded,
      fallbacks: this.safeGate.fallbacks,
      timeouts: this.safeGate.timeouts,
    }
  }

  close(decision: Decision | undefined): void {
    this.isClosed = true
    this.work.close()
    if (this.#isListening) this.#ruleLookup.off?.('changed', this.#onChanged)
    this.#isListening = false
    for (const queue of [...this.#holdingQueues]) queue.flush(decision)
  }
}
