import type { Decision } from '../decision.ts'
import type { MaybePromise, Message } from '../message.ts'
import type { Parked } from './flow.ts'
import type { Ask, Enact, HeldLine, LaneHooks, LaneKeeper } from './holding.ts'
import { isLater, overflow } from './holding.ts'
import { type Entry, Waiting } from './waiting.ts'

/**
 * Questions a lane may have under way at a store that answers later; a throttled head stops them. Also the number
 * of such questions at which a connection is asked to stop reading.
 */
export const QUESTIONS_AHEAD = 32

interface Held extends Entry {
  readonly enact: Enact<Message>
  readonly ask: Ask<Message> | undefined
}

/**
 * The messages of one sender, in their order. A message that may pass at once never enters it. One that is to be
 * throttled, or whose decision comes later, waits, and all later ones of that sender wait behind it. Made by
 * `guard.lane()`.
 */
export class Lane implements HeldLine {
  readonly #keeper: LaneKeeper
  readonly #hooks: LaneHooks
  readonly #waiting = new Waiting<Held>()
  /** What rules hold of this sender outside its own order. */
  readonly #parked = new Set<Parked>()
  #underWay = 0
  /** One behind the head was refused: nothing more is asked before its turn has come. */
  #stalled = false
  #cancelTimer: (() => void) | undefined
  #lastRefusal: Decision | undefined
  #pumping = false
  #toldHold = false
  #left = false

  constructor(keeper: LaneKeeper, hooks: LaneHooks) {
    this.#keeper = keeper
    this.#hooks = hooks
  }

  /** Messages that wait here. */
  get held(): number {
    return this.#waiting.count
  }

  /** Their payload bytes. */
  get heldBytes(): number {
    return this.#waiting.bytes
  }

  /**
   * Decides about a message and has it enacted: at once where that is possible, else in its turn. `ask` replaces
   * the gate's question for this message.
   */
  admit<M extends Message>(message: M, enact: Enact<M>, ask?: Ask<M>): void {
    if (this.#waiting.first !== undefined) {
      this.#join(message, enact, ask, undefined)
      return
    }
    const answer = ask === undefined ? this.#keeper.ask(message) : ask(message)
    // The likely case first: most messages pass, and a promise has no outcome.
    if ((answer as Decision).outcome === 'deliver') enact(answer as Decision, message)
    else if (isLater(answer) || answer.outcome === 'throttle') this.#join(message, enact, ask, answer)
    else this.#finish(answer, message, enact as unknown as Enact<Message>, ask as unknown as Ask<Message>)
  }

  /**
   * The sender has gone. What `keep` says no to is forgotten: never enacted, counted as discarded. The rest goes
   * its way in order. The hooks are called no more. Answers how many were forgotten.
   */
  leave(keep: (message: Message) => boolean = () => false): number {
    this.#left = true
    let forgotten = this.#sift(keep)
    for (const parked of [...this.#parked]) {
      if (parked.gone || keep(parked.message)) continue
      parked.forget()
      this.#keeper.discarded(1)
      forgotten++
    }
    this.#pump()
    return forgotten
  }

  /** Ends all waiting: with a decision all are enacted with it, in order; without, all are forgotten. */
  flush(decision?: Decision): void {
    this.#stopTimer()
    if (decision === undefined) this.#sift(() => false)
    else while (this.#waiting.first) this.#enactFirst(decision)
    this.#settle()
  }

  #join<M extends Message>(
    message: M,
    enact: Enact<M>,
    ask: Ask<M> | undefined,
    answer: MaybePromise<Decision> | undefined,
  ): void {
    if (!this.#keeper.reserve(this, message.size)) {
      // Refused in the name of the rule that would have held it, or that holds the head.
      this.#keeper.overflowed()
      const refusal = answer !== undefined && !isLater(answer) ? answer : this.#lastRefusal
      enact(overflow(refusal, this.#keeper.boundsOf(refusal).overflow), message)
      return
    }
    const entry: Held = {
      message,
      sizeBytes: message.size,
      sinceMs: this.#keeper.clock.now(),
      phase: 'waiting',
      decision: undefined,
      gone: false,
      next: undefined,
      // Both are only ever given the very message they came with.
      enact: enact as unknown as Enact<Message>,
      ask: ask as unknown as Ask<Message> | undefined,
    }
    this.#waiting.append(entry)
    if (answer !== undefined) this.#take(entry, answer)
    this.#pump()
  }

  #take(entry: Held, answer: MaybePromise<Decision>): void {
    this.#waiting.asked(entry)
    if (!isLater(answer)) {
      this.#note(entry, answer)
      return
    }
    entry.phase = 'asking'
    this.#underWay++
    answer.then(decision => {
      this.#underWay--
      if (entry.gone) return
      this.#note(entry, decision)
      this.#pump()
    })
  }

  #note(entry: Held, decision: Decision): void {
    entry.decision = decision
    entry.phase = 'decided'
    if (entry !== this.#waiting.first && decision.outcome === 'throttle') {
      // By its turn this answer would be old: it is asked again then, and nobody behind it before.
      entry.phase = 'waiting'
      this.#stalled = true
    }
  }

  #pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    let calm = false
    try {
      this.#run()
      calm = true
    } finally {
      this.#pumping = false
      // Whoever enacts may throw; those behind it must not wait for ever.
      if (!calm && this.#waiting.first) this.#wait(1)
    }
    this.#settle()
  }

  #run(): void {
    while (this.#waiting.first && this.#cancelTimer === undefined) {
      const entry = this.#waiting.first
      if (entry.phase === 'waiting') {
        this.#stalled = false
        this.#take(entry, this.#ask(entry))
      }
      if (entry.phase === 'asking') {
        this.#askAhead()
        return
      }
      const decision = entry.decision!
      if (decision.outcome !== 'throttle') {
        this.#enactFirst(decision)
      } else if (this.#mayWait(entry, decision)) {
        this.#lastRefusal = decision
        entry.phase = 'waiting'
        this.#wait(decision.retryAfterMs)
      } else {
        this.#keeper.overflowed()
        this.#enactFirst(overflow(decision, this.#keeper.boundsOf(decision).overflow))
      }
    }
  }

  #ask(entry: Held): MaybePromise<Decision> {
    return entry.ask === undefined ? this.#keeper.ask(entry.message) : entry.ask(entry.message)
  }

  /** Asks about those behind a head whose answer is under way, so that a distant store costs one wait, not one each. */
  #askAhead(): void {
    while (this.#waiting.unasked && !this.#stalled && this.#underWay < QUESTIONS_AHEAD) {
      const entry = this.#waiting.unasked
      this.#take(entry, this.#ask(entry))
    }
  }

  #enactFirst(decision: Decision): void {
    const entry = this.#waiting.shift()!
    this.#keeper.release(this, entry.sizeBytes)
    this.#finish(decision, entry.message, entry.enact, entry.ask)
  }

  /** Enacts what is final; what a rule holds outside this order is parked. */
  #finish(decision: Decision, message: Message, enact: Enact<Message>, ask: Ask<Message> | undefined): void {
    const parks = decision.outcome === 'queue' || decision.outcome === 'latest'
    if (parks && this.#keeper.park({ message, decision, lane: this, enact, ask, siblings: this.#parked }))
      this.#hooks.onPark?.(message)
    else enact(decision, message)
  }

  #sift(keep: (message: Message) => boolean): number {
    const head = this.#waiting.first
    let forgotten = 0
    this.#waiting.sift(keep, entry => {
      forgotten++
      this.#keeper.release(this, entry.sizeBytes)
    })
    if (this.#waiting.first !== head) this.#stopTimer()
    this.#keeper.discarded(forgotten)
    return forgotten
  }

  #mayWait(entry: Held, decision: Decision): boolean {
    const waitedMs = this.#keeper.clock.now() - entry.sinceMs
    return waitedMs + decision.retryAfterMs <= this.#keeper.boundsOf(decision).maxHoldMs
  }

  #wait(ms: number): void {
    this.#stopTimer()
    this.#cancelTimer = this.#keeper.clock.after(Math.max(1, ms), () => {
      this.#cancelTimer = undefined
      this.#pump()
    })
  }

  #stopTimer(): void {
    this.#cancelTimer?.()
    this.#cancelTimer = undefined
  }

  /** Tells the connection when to stop and when to go on reading. */
  #settle(): void {
    if (this.#left) return
    const { first, count } = this.#waiting
    if (first === undefined) {
      if (!this.#toldHold) return
      this.#toldHold = false
      this.#hooks.onFree?.()
    } else if (!this.#toldHold && (this.#cancelTimer !== undefined || count >= QUESTIONS_AHEAD)) {
      this.#toldHold = true
      this.#hooks.onHold?.()
    }
  }
}
