import { Aedes, type Client } from 'aedes'
import type { Decision, Outcome } from '../../src/core/decision.ts'
import type { MaybePromise } from '../../src/core/message.ts'
import type { Ask } from '../../src/guard/guard.ts'
import type { Connection } from './connection.ts'
import type { BrokerContext } from './context.ts'
import type { DecideLate, Discards } from './discard-packets.ts'
import { composePlainHook } from './hooks.ts'
import { AedesMessage, type PacketLike, PublishMessage } from './message.ts'
import { degradedPacket, redirectedPacket } from './packet-replacement.ts'
import { refusalError } from './refusal-error.ts'

/** A PUBLISH of a client; or a will, which has no `cmd`, and its client's id where aedes restored it. */
type Packet = Parameters<Aedes['authorizePublish']>[1] & { readonly clientId?: string }
type Callback = Parameters<Aedes['authorizePublish']>[2]

/** aedes' persistence is not in its types. */
interface Persistent {
  readonly persistence?: {
    incomingGetPacket?(client: Client, packet: object): Promise<unknown>
    incomingDelPacket?(client: Client, packet: object): Promise<unknown>
  }
}

const SYS = '$SYS/'
const DOLLAR = 36

/** Refusals that are enacted as they are called, or were counted already. */
const KNOWN: ReadonlySet<Outcome> = new Set(['drop', 'reject', 'redirect'])

/** A QoS 2 message that aedes has stored already: it is acknowledged again, and not charged again. */
const SENT_AGAIN: Decision = Object.freeze({
  allowed: true,
  outcome: 'deliver',
  reason: 'ok',
  retryAfterMs: 0,
})

/**
 * Limits what clients publish, and their wills. aedes asks `authorizePublish` for neither its own messages nor
 * `broker.publish`. Returns what takes it off again.
 */
export function limitPublishes(context: BrokerContext, discards: Discards): () => void {
  const { broker, gate, guard, settings, counters, notices, holdings } = context

  /** `asSent`: its topic is still that of the bytes. `decided`: what was decided from the bytes, and charged. */
  function admit(
    client: Client | null,
    connection: Connection | undefined,
    packet: Packet,
    callback: Callback,
    asSent: boolean,
    decided: MaybePromise<Decision> | undefined,
  ): void {
    const will = client === null || client.closed || packet.cmd !== 'publish'
    if (settings.guardSys && packet.topic.charCodeAt(0) === DOLLAR && packet.topic.startsWith(SYS)) {
      if (will) discard(packet, callback)
      else callback(new Error(`${SYS} topic is reserved`))
      return
    }
    if (notices?.covers(packet.topic)) {
      // What a client is told comes from the broker alone.
      counters.dropped++
      discard(packet, callback)
      return
    }
    if (client === null || connection === undefined) {
      const sender = { client: packet.clientId ?? '' }
      const senderQueue = context.queues.senderQueueOf(sender.client) ?? guard.senderQueue()
      senderQueue.admit(new PublishMessage(sender, packet, callback, true, undefined, false), enact)
      return
    }
    if (connection.disconnecting && !will) return
    if (!connection.isOpen) {
      connection.whenOpen(() => {
        // Its client sends again what was not acknowledged.
        if (client.closed && packet.cmd === 'publish' && packet.qos > 0) return
        admit(client, connection, packet, callback, asSent, decided)
      })
      return
    }
    const exactlyOnce = packet.qos === 2
    const sentAgain = exactlyOnce && packet.dup === true
    let answer = decided
    if (answer === undefined && !will && !sentAgain && connection.senderQueue.pending === 0) {
      const asked = new AedesMessage('publish', connection.sender, packet)
      answer = (packet.retain === true ? holdings.askRetained(asked) : undefined) ?? guard.ask(asked)
      // The likely case: what passes at once needs neither lane nor enactment, 60 ns of a message.
      if ((answer as Decision).outcome === 'deliver') {
        // A broker that has closed gives no answer any more.
        if (broker.closed) return
        if (exactlyOnce) discards.watch(packet, connection.expectAcknowledgement())
        callback(null)
        return
      }
    }
    const message = new PublishMessage(connection.sender, packet, callback, will, connection, asSent)
    if (answer !== undefined && !will) {
      connection.senderQueue.admit(message, enact, askAfter(answer))
    } else if (sentAgain && !will) {
      connection.senderQueue.admit(message, enact, askUnlessStored(client))
    } else {
      connection.senderQueue.admit(message, enact)
    }
  }

  /** Answers what was decided, once: a message that waits for its turn is asked about anew. */
  function askAfter(decided: MaybePromise<Decision>): Ask<PublishMessage> {
    let answer: MaybePromise<Decision> | undefined = decided
    return message => {
      const first = answer ?? guard.ask(message)
      answer = undefined
      return first
    }
  }

  function enact(decision: Decision, message: PublishMessage): void {
    message.settle()
    // A broker that has closed, or a client that is being disconnected, gets no answer any more.
    if (broker.closed || (message.source?.disconnecting && !message.will)) {
      message.withdraw?.()
      return
    }
    if (decision.outcome === 'deliver') pass(decision, message)
    else if (decision.outcome === 'degrade') degrade(decision, message)
    else refuse(decision, message)
  }

  function pass(decision: Decision, message: PublishMessage): void {
    const { source, packet, callback } = message
    if (decision === SENT_AGAIN) discards.decideLate(packet, decideStored(message))
    else if (message.qos === 2 && source !== undefined) discards.watch(packet, source.expectAcknowledgement())
    callback(null)
  }

  /**
   * Decides about a message that was stored when it arrived and is published nevertheless: a PUBREL right behind it
   * has released its id, so that aedes takes it for a new message.
   */
  function decideStored({ sender, packet, source, asSent }: PublishMessage): DecideLate {
    return (client, publish, published) => {
      const { persistence } = broker as unknown as Persistent
      // aedes stores before it publishes. A message that is not taken must not be a duplicate when it is sent again.
      const withdraw = async (): Promise<void> => {
        try {
          await persistence?.incomingDelPacket?.(client, packet)
        } catch {
          // The client has released it.
        }
      }
      const callback: Callback = error => {
        if (error) void withdraw().then(() => published(error))
        else publish()
      }
      const message = new PublishMessage(sender, packet, callback, false, source, asSent)
      message.withdraw = () => void withdraw()
      if (source === undefined) guard.senderQueue().admit(message, enact)
      else source.senderQueue.admit(message, enact)
    }
  }

  function degrade(decision: Decision, message: PublishMessage): void {
    const lesser = degradedPacket(gate.ruleOf(decision.rule ?? ''), message, decision)
    if (lesser === undefined) {
      pass(decision, message)
      return
    }
    counters.degraded++
    discards.replace(message.packet, lesser, acknowledgementOf(message))
    message.callback(null)
  }

  function acknowledgementOf({ qos, source }: PublishMessage): (() => void) | undefined {
    return qos === 2 ? source?.expectAcknowledgement() : undefined
  }

  function refuse(decision: Decision, message: PublishMessage): void {
    const { source, packet, callback } = message
    // A newer one has taken its place: that is no refusal.
    if (decision.reason === 'superseded') {
      discard(packet, callback, acknowledgementOf(message))
      return
    }
    if (message.will && source?.isCutOff && decision.reason !== 'banned') {
      // The refusals that cut the client off have used up the limits of its will. Connects bound how often.
      callback(null)
      return
    }
    context.refusals.recordRefusal(message, decision)
    const other = decision.outcome === 'redirect' ? redirect(decision, message) : undefined
    if (message.will && other === undefined) {
      // An error would make aedes emit 'error' for a will it restored, which can end the process.
      counters.willsRefused++
      discard(packet, callback)
      return
    }
    if (decision.outcome === 'disconnect' || (!message.will && source?.refused(message, decision))) {
      counters.disconnected++
      source?.disconnect(refusalError(decision, 'publish'), callback)
      return
    }
    // MQTT 3.1.1 has no word for a refusal: acknowledge [MQTT-3.3.5-2], and discard or publish elsewhere.
    if (other !== undefined) {
      counters.redirected++
      discards.replace(packet, other, acknowledgementOf(message))
      callback(null)
      return
    }
    if (!KNOWN.has(decision.outcome)) counters.unsupported++
    counters.dropped++
    if (message.asSent && message.qos === 0 && decision.reason !== 'retained_exceeded')
      source?.expectMore(message.topic)
    discard(packet, callback, acknowledgementOf(message))
  }

  function redirect(decision: Decision, message: PublishMessage): PacketLike | undefined {
    const facts = gate.ruleOf(decision.rule ?? '')
    if (facts?.exceeded.redirect === undefined) counters.unsupported++
    return redirectedPacket(broker, facts, message, decision)
  }

  function discard(packet: object, callback: Callback, acknowledged?: () => void): void {
    discards.mark(packet, acknowledged)
    callback(null)
  }

  function askUnlessStored(client: Client): Ask<PublishMessage> {
    return message => {
      const { persistence } = broker as unknown as Persistent
      if (typeof persistence?.incomingGetPacket !== 'function') return guard.ask(message)
      return new Promise<unknown>(resolve => {
        resolve(persistence.incomingGetPacket?.(client, message.packet))
      }).then(
        () => SENT_AGAIN,
        () => guard.ask(message),
      )
    }
  }

  // aedes' own hook keeps clients from $SYS and does nothing else: where we do that, it need not be asked, nor a
  // function be made for its answer to each message.
  const spared = settings.guardSys ? new Aedes().authorizePublish : undefined

  const hook = composePlainHook(broker, 'authorizePublish', composed => {
    const { users } = composed
    context.mayFilterRaw = () => !broker.closed && (settings.skimRefused === true || users === spared)
    return (client, packet, callback) => {
      if (composed.retired) {
        users.call(broker, client, packet, callback)
        return
      }
      const connection = client === null ? undefined : context.connectionOf(client)
      const isPublish = packet.cmd === 'publish'
      const decided = isPublish ? connection?.rawFilter?.takeDecision() : undefined
      if (users === spared) {
        admit(client, connection, packet, callback, true, decided)
        if (!isPublish) connection?.willTaken()
        return
      }
      const { topic } = packet
      if (connection !== undefined) connection.unanswered++
      users.call(broker, client, packet, error => {
        if (connection !== undefined) connection.unanswered--
        if (!error) admit(client, connection, packet, callback, packet.topic === topic, decided)
        else if (client === null) discard(packet, callback)
        else callback(error)
        if (!isPublish) connection?.willTaken()
        else if (connection?.isGone) connection.settle()
      })
    }
  })
  context.beforeReading = () => void hook.renew()
  const register = (client: Client): void => context.connectionOf(client).register()
  broker.on('client', register)
  return () => {
    broker.off('client', register)
    hook.detach()
  }
}
