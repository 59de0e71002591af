import type { ErrorLog } from '../../src/broker-support/error-log.ts'
import type { KeyInFlight } from '../../src/chain/rules/in-flight-slots.ts'
import type { Decision } from '../../src/core/decision.ts'
import { isThenable } from '../../src/core/maybe-promise.ts'
import type { Gate } from '../../src/gate/gate.ts'
import type { RefusalLog } from '../../src/guard/refusal-log.ts'
import { degradeMessage } from '../../src/outcomes/degrade.ts'
import type { MqttJsPublishPacket } from './client-types.ts'
import type { Handler } from './consumer-options.ts'
import type { DeadLetterPublisher } from './dead-letter-publisher.ts'
import type { ReceivedMessage } from './message.ts'
import { SerialQueue } from './serial-queue.ts'

/** Counts of messages since the limiter was attached. */
export interface MessageCounters {
  received: number
  /** Messages passed to the handler, unchanged or degraded. */
  delivered: number
  degraded: number
  /** Messages acknowledged and discarded. */
  dropped: number
  /** Messages refused with reason code 0x97. */
  rejected: number
  redirected: number
  /** Messages without a valid target topic or a timely acknowledgement. They were discarded. */
  redirectFailures: number
  handlerFailures: number
  /** Messages with an outcome that a consumer cannot enact. They were dropped instead. */
  unsupported: number
}

export function createMessageCounters(): MessageCounters {
  return {
    received: 0,
    delivered: 0,
    degraded: 0,
    dropped: 0,
    rejected: 0,
    redirected: 0,
    redirectFailures: 0,
    handlerFailures: 0,
    unsupported: 0,
  }
}

export interface DecisionExecutorDependencies {
  readonly counters: MessageCounters
  readonly errorLog: ErrorLog
  readonly refusals: RefusalLog
  readonly deadLetter: DeadLetterPublisher | undefined
  /** Acknowledges a message and lets the client continue. */
  release(message: ReceivedMessage): void
}

/** Enacts decisions: passes messages to the handler one after another, and drops, refuses or redirects the others. */
export class DecisionExecutor {
  readonly #handler: Handler
  readonly #gate: Gate
  readonly #dependencies: DecisionExecutorDependencies
  readonly #serialQueue: SerialQueue<ReceivedMessage>

  constructor(handler: Handler, gate: Gate, dependencies: DecisionExecutorDependencies) {
    this.#handler = handler
    this.#gate = gate
    this.#dependencies = dependencies
    this.#serialQueue = new SerialQueue(this.#dispatch)
  }

  get isIdle(): boolean {
    return this.#serialQueue.isIdle
  }

  whenIdle(then: () => void): void {
    this.#serialQueue.whenIdle(then)
  }

  /** Passes a message to the handler after all earlier ones. Never throws. */
  deliver(decision: Decision, message: ReceivedMessage): void {
    message.decision = decision
    this.#serialQueue.enqueue(message)
  }

  /** Enacts a decision, then lets the client continue. Never throws. */
  enact(decision: Decision, message: ReceivedMessage): void {
    const { counters, deadLetter, release } = this.#dependencies
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
    // A superseded message is not a refusal.
    if (decision.reason !== 'superseded') {
      counters.dropped++
      this.#dependencies.refusals.recordRefusal(message, decision)
    }
    release(message)
  }

  recordRejection(decision: Decision, message: ReceivedMessage): void {
    this.#dependencies.counters.rejected++
    this.#dependencies.refusals.recordRefusal(message, decision)
  }

  readonly #dispatch = (message: ReceivedMessage): Promise<void> | undefined =>
    this.#gate.handlerMonitor.hasInFlightLimits ? this.#runInSlot(message) : this.#runHandler(message)

  /** Runs the handler within the in-flight limits: waits for a slot, or discards the message. */
  #runInSlot(message: ReceivedMessage, keyInFlight?: KeyInFlight): Promise<void> | undefined {
    const admission = this.#gate.handlerMonitor.beginHandler(message, keyInFlight)
    if ('release' in admission) {
      const running = this.#runHandler(message)
      if (running === undefined) admission.release()
      return running?.then(() => admission.release())
    }
    const { decision } = admission
    if (decision.outcome === 'throttle')
      return new Promise(resolve => {
        admission.wait(next => {
          const running = this.#runInSlot(message, next)
          if (running === undefined) resolve()
          else running.then(resolve)
        })
      })
    this.#dependencies.counters.dropped++
    this.#gate.forgetPayload(message)
    this.#dependencies.refusals.recordRefusal(message, decision)
    this.#dependencies.release(message)
    return undefined
  }

  #runHandler(message: ReceivedMessage): Promise<void> | undefined {
    const { counters, release } = this.#dependencies
    try {
      const { decision } = message
      const packet = decision.outcome === 'degrade' ? this.#degrade(decision, message) : message.packet
      counters.delivered++
      const { handlerMonitor } = this.#gate
      const payload = packet.payload as Buffer
      // Creates no closure unless the monitor is used.
      const answer = handlerMonitor.isUsed
        ? handlerMonitor.measure(message, () => this.#handler(message.topic, payload, packet, message))
        : this.#handler(message.topic, payload, packet, message)
      if (isThenable(answer)) {
        return Promise.resolve(answer).then(
          () => release(message),
          (err: unknown) => this.#handleFailure(err, message),
        )
      }
    } catch (err) {
      this.#handleFailure(err, message)
      return undefined
    }
    release(message)
    return undefined
  }

  /** Acknowledges a message whose handler failed. Otherwise it would use up the window until the next connection. */
  #handleFailure(err: unknown, message: ReceivedMessage): void {
    this.#dependencies.counters.handlerFailures++
    this.#dependencies.errorLog.logError('the handler failed, the message is acknowledged', err)
    this.#gate.forgetPayload(message)
    this.#dependencies.release(message)
  }

  #degrade(decision: Decision, message: ReceivedMessage): MqttJsPublishPacket {
    this.#dependencies.counters.degraded++
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

  #redirect(deadLetter: DeadLetterPublisher, decision: Decision, message: ReceivedMessage): void {
    const { counters, refusals, errorLog, release } = this.#dependencies
    refusals.recordRefusal(message, decision)
    deadLetter.send(message, decision, this.#gate.ruleOf(decision.rule ?? ''), failure => {
      if (failure === undefined) counters.redirected++
      else {
        counters.redirectFailures++
        errorLog.logError('a message was not redirected', failure)
      }
      release(message)
    })
  }
}
