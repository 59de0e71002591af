import type { Decision } from '../../src/core/decision.ts'
import type { Logger } from '../../src/core/logger.ts'
import { isThenable } from '../../src/core/maybe-promise.ts'
import type { RefusalLog } from '../../src/guard/refusal-log.ts'
import type { Gate, KeyInFlight } from '../../src/index.ts'
import { degradeMessage } from '../../src/outcomes/degrade.ts'
import type { PublishPacket } from './client.ts'
import type { DeadLetter } from './dead-letter.ts'
import type { ReceivedMessage } from './message.ts'
import type { Handler } from './options.ts'
import { SerialQueue } from './topic-order.ts'

/** What was done with messages since the limiter was attached. */
export interface MessageCounters {
  received: number
  /** Given to the handler, in full or degraded. */
  delivered: number
  degraded: number
  /** Acknowledged and discarded. */
  dropped: number
  /** Refused with reason code 0x97. */
  rejected: number
  redirected: number
  /** Had no topic to go to, or no acknowledgement in time; discarded. */
  redirectFailures: number
  handlerFailures: number
  /** Refused with an outcome a consumer cannot enact, and dropped instead. */
  unsupported: number
}

export function emptyCounters(): MessageCounters {
  return {
    ...{ received: 0, delivered: 0, degraded: 0, dropped: 0, rejected: 0 },
    ...{ redirected: 0, redirectFailures: 0, handlerFailures: 0, unsupported: 0 },
  }
}

export interface HandlerDispatchParts {
  readonly counters: MessageCounters
  readonly logger: Logger
  readonly refusals: RefusalLog
  readonly deadLetter: DeadLetter | undefined
  /** The client may go on. */
  release(message: ReceivedMessage): void
}

/** Failures that are logged; beyond them they are counted. */
const LOGGED = 32

/** Enacts decisions: hands what passes to the handler, one after another, and what does not elsewhere. */
export class HandlerDispatch {
  readonly #handler: Handler
  readonly #gate: Gate
  readonly #parts: HandlerDispatchParts
  readonly #serialQueue: SerialQueue<ReceivedMessage>
  #logged = 0

  constructor(handler: Handler, gate: Gate, parts: HandlerDispatchParts) {
    this.#handler = handler
    this.#gate = gate
    this.#parts = parts
    this.#serialQueue = new SerialQueue(this.#hand)
  }

  get isIdle(): boolean {
    return this.#serialQueue.isIdle
  }

  whenIdle(then: () => void): void {
    this.#serialQueue.whenIdle(then)
  }

  /** Hands on what passes, when all before it have been. Never throws. */
  deliver(decision: Decision, message: ReceivedMessage): void {
    message.decision = decision
    this.#serialQueue.take(message)
  }

  /** Does with a message what was decided, then lets the client go on. Never throws. */
  enact(decision: Decision, message: ReceivedMessage): void {
    const { counters, deadLetter, release } = this.#parts
    switch (decision.outcome) {
      case 'deliver':
      case 'degrade':
        this.deliver(decision, message)
        return
      case 'redirect':
        if (deadLetter !== undefined) {
          this.#redirect(deadLetter, decision, message)
          return
        }
        counters.unsupported++
        break
      case 'drop':
      case 'reject':
        break
      default:
        counters.unsupported++
    }
    // A newer one has taken its place: that is no refusal.
    if (decision.reason !== 'superseded') {
      counters.dropped++
      this.#parts.refusals.recordRefusal(message, decision)
    }
    release(message)
  }

  noteRejected(decision: Decision, message: ReceivedMessage): void {
    this.#parts.counters.rejected++
    this.#parts.refusals.recordRefusal(message, decision)
  }

  /** Logs a failure of the application's own code, a few of them. Never throws. */
  report(err: unknown, text: string): void {
    if (this.#logged >= LOGGED) return
    this.#logged++
    try {
      this.#parts.logger.error({ err }, text)
    } catch {
      // A logger that throws must not stop a consumer.
    }
  }

  readonly #hand = (message: ReceivedMessage): Promise<void> | undefined =>
    this.#gate.handlerMonitor.isBounded ? this.#handWithin(message) : this.#handNow(message)

  /** Hands a message on within the limits of handlers at work: waits for one of them to end, or discards it. */
  #handWithin(message: ReceivedMessage, turn?: KeyInFlight): Promise<void> | undefined {
    const entered = this.#gate.handlerMonitor.beginHandler(message, turn)
    if ('release' in entered) {
      const running = this.#handNow(message)
      if (running === undefined) entered.release()
      return running?.then(() => entered.release())
    }
    const { decision } = entered
    if (decision.outcome === 'throttle')
      return new Promise(resolve => {
        entered.wait(next => {
          const running = this.#handWithin(message, next)
          if (running === undefined) resolve()
          else running.then(resolve)
        })
      })
    this.#parts.counters.dropped++
    this.#parts.refusals.recordRefusal(message, decision)
    this.#parts.release(message)
    return undefined
  }

  #handNow(message: ReceivedMessage): Promise<void> | undefined {
    const { counters, release } = this.#parts
    try {
      const { decision } = message
      const packet = decision.outcome === 'degrade' ? this.#degrade(decision, message) : message.packet
      counters.delivered++
      const { handlerMonitor } = this.#gate
      const payload = packet.payload as Buffer
      // No closure is made where nobody goes by it.
      const answer = handlerMonitor.isUsed
        ? handlerMonitor.measure(message, () => this.#handler(message.topic, payload, packet, message))
        : this.#handler(message.topic, payload, packet, message)
      if (isThenable(answer)) {
        return Promise.resolve(answer).then(
          () => release(message),
          (err: unknown) => this.#fail(err, message),
        )
      }
    } catch (err) {
      this.#fail(err, message)
      return undefined
    }
    release(message)
    return undefined
  }

  /** Acknowledged all the same: what is not would use up the window, and come again only on another connection. */
  #fail(err: unknown, message: ReceivedMessage): void {
    this.#parts.counters.handlerFailures++
    this.report(err, 'the handler threw, the message is acknowledged')
    this.#parts.release(message)
  }

  #degrade(decision: Decision, message: ReceivedMessage): PublishPacket {
    this.#parts.counters.degraded++
    const { packet } = message
    const plan = this.#gate.ruleOf(decision.rule ?? '')?.exceeded.degrade
    if (plan === undefined) return packet
    const { payload, retain, qos, headers } = degradeMessage(plan, message, decision)
    const userProperties = Object.assign(Object.create(null), message.headers, headers)
    return {
      ...packet,
      retain,
      qos,
      payload: payload === undefined ? packet.payload : Buffer.from(payload),
      properties: { ...packet.properties, userProperties },
    }
  }

  #redirect(deadLetter: DeadLetter, decision: Decision, message: ReceivedMessage): void {
    const { counters, refusals, release } = this.#parts
    refusals.recordRefusal(message, decision)
    deadLetter.send(message, decision, this.#gate.ruleOf(decision.rule ?? ''), failure => {
      if (failure === undefined) counters.redirected++
      else {
        counters.redirectFailures++
        this.report(failure, 'a message was not redirected')
      }
      release(message)
    })
  }
}
