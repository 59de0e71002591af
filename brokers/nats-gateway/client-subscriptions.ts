import type { Decision } from '../../src/core/decision.ts'
import type { Sender } from '../../src/core/message.ts'
import { PASS, type PacketVerdict, SKIP, STOP } from '../../src/gateway/packet-walker.ts'
import { SubscribeMessage } from '../../src/gateway/subscribe-message.ts'
import type { SenderQueue } from '../../src/guard/guard.ts'
import type { ConnectionState } from './connection-state.ts'
import { LineTokens } from './line-tokens.ts'
import { encodeError } from './write-lines.ts'

/** A SUB. */
class SubMessage extends SubscribeMessage {
  readonly queueGroup: string | undefined
  readonly sid: string
  /** The line; a part of the received chunk until it waits. */
  line: Buffer
  isEnacted = false
  isPassed = false
  /** True until its decision has to wait. */
  isAtOnce = true

  constructor(sender: Sender, topic: string, queueGroup: string | undefined, sid: string, line: Buffer) {
    super(topic, sender)
    this.queueGroup = queueGroup
    this.sid = sid
    this.line = line
  }

  get protocol(): 'nats' {
    return 'nats'
  }
}

/** Subscriptions of one client. */
export class ClientSubscriptions {
  readonly #connection: ConnectionState
  readonly #queue: SenderQueue
  readonly #tokens = new LineTokens()

  constructor(connection: ConnectionState, queue: SenderQueue) {
    this.#connection = connection
    this.#queue = queue
  }

  /** Decides about `SUB subject [queue group] sid`. */
  decideSubscribe(bytes: Buffer, start: number, body: number): PacketVerdict {
    const connection = this.#connection
    const { context } = connection
    const tokens = this.#tokens
    tokens.read(bytes, start, body)
    if (tokens.count !== 3 && tokens.count !== 4) return this.#stop()
    const message = new SubMessage(
      connection.sender,
      tokens.textOf(bytes, 1),
      tokens.count === 4 ? tokens.textOf(bytes, 2) : undefined,
      tokens.textOf(bytes, tokens.count - 1),
      bytes.subarray(start, body),
    )
    if (context.limitsSubscriptions && !context.exempt.has(message.topic))
      this.#queue.admit(message, this.#enact)
    else if (!this.#waitBehindHeld(message)) {
      connection.subscriptionTable.add(message.sid, message.topic)
      return PASS
    }
    if (message.isPassed) return PASS
    message.isAtOnce = false
    if (!message.isEnacted) message.line = Buffer.from(message.line)
    return SKIP
  }

  /** Decides about `UNSUB sid [maximum]`. */
  decideUnsubscribe(bytes: Buffer, start: number, body: number): PacketVerdict {
    const tokens = this.#tokens
    tokens.read(bytes, start, body)
    if (tokens.count !== 2 && tokens.count !== 3) return this.#stop()
    const sid = tokens.textOf(bytes, 1)
    const maximum = tokens.count === 3 ? tokens.numberOf(bytes, 2) : 0
    const { subscriptionTable } = this.#connection
    if (this.#queue.held === 0) {
      subscriptionTable.unsubscribe(sid, maximum)
      return PASS
    }
    this.#connection.sendInOrder(bytes.subarray(start, body), () =>
      subscriptionTable.unsubscribe(sid, maximum),
    )
    return SKIP
  }

  #stop(): PacketVerdict {
    this.#connection.onProblem('malformed')
    return STOP
  }

  #waitBehindHeld({ sid, topic, line }: SubMessage): boolean {
    if (this.#queue.held === 0) return false
    const { subscriptionTable } = this.#connection
    this.#connection.sendInOrder(line, () => subscriptionTable.add(sid, topic))
    return true
  }

  readonly #enact = (decision: Decision, message: SubMessage): void => {
    const connection = this.#connection
    const { context } = connection
    message.isEnacted = true
    if (connection.isClosing) return
    if (decision.allowed) {
      connection.subscriptionTable.add(message.sid, message.topic)
      if (message.isAtOnce) message.isPassed = true
      else connection.toBroker.insert(message.line)
      return
    }
    context.refusals.recordRefusal(message, decision)
    context.counters.subscriptionsRefused++
    if (decision.outcome === 'disconnect') {
      connection.disconnect(decision)
      return
    }
    const { topic, queueGroup } = message
    const group = queueGroup === undefined ? '' : ` using queue "${queueGroup}"`
    connection.toClient.insert(encodeError(`Permissions Violation for Subscription to "${topic}"${group}`))
  }
}
