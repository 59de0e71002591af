import { Aedes, type Client } from 'aedes'
import type { Decision, Outcome } from '../../src/core/decision.ts'
import type { MaybePromise } from '../../src/core/message.ts'
import type { Ask } from '../../src/guard/guard.ts'
import { reuseDecisionOnce } from '../../src/guard/reuse-decision-once.ts'
import { brokerInternals } from './aedes-internals.ts'
import type { BrokerContext } from './broker-context.ts'
import { composeMessageHook } from './compose-hooks.ts'
import type { Connection } from './connection.ts'
import { degradePacket, redirectPacket } from './degrade-and-redirect.ts'
import { AedesMessage, IncomingPublish, type PacketLike, type PublishSource } from './message.ts'
import { NotAuthorizedError } from './not-authorized-error.ts'
import { type DecideOnPublish, deferPuback, type PublishInterceptor } from './publish-interceptor.ts'
import { clientRefusalError } from './refusal-error.ts'
import type { ResourceCounter } from './resource-counter.ts'

/** A PUBLISH of a client, or a will, which has no `cmd` and, if aedes restored it, the client id. */
type Packet = Parameters<Aedes['authorizePublish']>[1] & { readonly clientId?: string }
type Callback = Parameters<Aedes['authorizePublish']>[2]

const SYS = '$SYS/'
const DOLLAR = 36

/** Refusals that are enacted by name or counted already. */
const SUPPORTED_REFUSALS: ReadonlySet<Outcome> = new Set(['drop', 'reject', 'redirect'])

/** Answer for a QoS 2 message that aedes has stored already: it is acknowledged again but not charged again. */
const ALREADY_STORED: Decision = Object.freeze({
  allowed: true,
  outcome: 'deliver',
  reason: 'ok',
  retryAfterMs: 0,
})

/** Answer for a message that the application's hook refused with NotAuthorizedError. No rule is charged. */
const NOT_AUTHORIZED: Decision = Object.freeze({
  allowed: false,
  outcome: 'drop',
  reason: 'not_authorized',
  retryAfterMs: Number.POSITIVE_INFINITY,
})

/**
 * Limits publishes and wills of clients. aedes calls `authorizePublish` neither for its own messages nor for
 * `broker.publish`. Returns a function that detaches it.
 */
export function limitPublishes(
  context: BrokerContext,
  resources: ResourceCounter,
  interceptor: PublishInterceptor,
): () => void {
  const { broker, gate, guard, settings, counters, notices } = context

  /**
   * Decides about a packet. `isTopicUnchanged`: its topic is that of the received bytes. `decided`: decision already
   * made and charged from the raw bytes.
   */
  function admit(
    client: Client | null,
    connection: Connection | undefined,
    packet: Packet,
    callback: Callback,
    isTopicUnchanged: boolean,
    decided: MaybePromise<Decision> | undefined,
  ): void {
    const will = client === null || client.closed || packet.cmd !== 'publish'
    if (settings.guardSys && packet.topic.charCodeAt(0) === DOLLAR && packet.topic.startsWith(SYS)) {
      if (will) discard(packet, callback)
      else callback(new Error(`${SYS} topic is reserved`))
      return
    }
    if (notices?.isNoticeTopic(packet.topic)) {
      // Notice topics belong to the broker alone.
      counters.dropped++
      discard(packet, callback)
      return
    }
    if (client === null || connection === undefined) {
      const sender = { client: packet.clientId ?? '' }
      const senderQueue = context.queues.senderQueueOf(sender.client) ?? guard.senderQueue()
      senderQueue.admit(new IncomingPublish(sender, packet, callback, true, undefined, false), enact)
      return
    }
    if (connection.isDisconnecting && !will) return
    if (!connection.isOpen) {
      connection.whenOpen(() => {
        // The client resends what was not acknowledged.
        if (client.closed && packet.cmd === 'publish' && packet.qos > 0) return
        admit(client, connection, packet, callback, isTopicUnchanged, decided)
      })
      return
    }
    const isExactlyOnce = packet.qos === 2
    const isResent = isExactlyOnce && packet.dup === true
    let answer = decided
    if (answer === undefined && !will && !isResent && connection.senderQueue.pending === 0) {
      const asked = new AedesMessage('publish', connection.sender, packet)
      answer = (packet.retain === true ? resources.checkRetained(asked) : undefined) ?? guard.ask(asked)
      // Fast path: a message allowed at once needs neither queue nor enactment, which saves 60 ns.
      if ((answer as Decision).outcome === 'deliver') {
        // A closed broker gives no answer.
        if (broker.closed) return
        if (isExactlyOnce) interceptor.publishUnchanged(packet, connection.expectAcknowledgement())
        else if (settings.acknowledgeStored && packet.qos === 1)
          interceptor.publishUnchanged(packet, deferAcknowledgement(packet, connection))
        callback(null)
        return
      }
    }
    const message = new IncomingPublish(
      connection.sender,
      packet,
      callback,
      will,
      connection,
      isTopicUnchanged,
    )
    if (answer !== undefined && !will) {
      connection.senderQueue.admit(message, enact, reuseDecisionOnce(answer, guard))
    } else if (isResent && !will) {
      connection.senderQueue.admit(message, enact, askUnlessStored(client))
    } else {
      connection.senderQueue.admit(message, enact)
    }
  }

  function refuseUnauthorized(
    client: Client,
    connection: Connection | undefined,
    packet: Packet,
    callback: Callback,
  ): void {
    if (client.closed || packet.cmd !== 'publish') {
      counters.willsRefused++
      discard(packet, callback)
    } else {
      // The topic counts as changed: the raw bytes of later messages say nothing about the application's answer.
      admit(client, connection, packet, callback, false, NOT_AUTHORIZED)
    }
  }

  function enact(decision: Decision, message: IncomingPublish): void {
    message.markEnacted()
    // A closed broker, or a client that is being disconnected, gets no answer.
    if (broker.closed || (message.source?.isDisconnecting && !message.will)) {
      if (decision.allowed) gate.forgetPayload(message)
      message.removeStored?.()
      return
    }
    if (decision.outcome === 'deliver') pass(decision, message)
    else if (decision.outcome === 'degrade') degrade(decision, message)
    else refuse(decision, message)
  }

  function pass(decision: Decision, message: IncomingPublish): void {
    const { packet, callback } = message
    if (decision === ALREADY_STORED) interceptor.decideOnPublish(packet, decideStored(message))
    else {
      const acknowledged = acknowledgementOf(message)
      if (acknowledged !== undefined) interceptor.publishUnchanged(packet, acknowledged)
    }
    callback(null)
  }

  /**
   * Decides about a message that was stored on arrival but is published after all: an immediate PUBREL has released its
   * id, so aedes treats it as a new message.
   */
  function decideStored({ sender, packet, source, isTopicUnchanged }: IncomingPublish): DecideOnPublish {
    return (client, publish, published) => {
      const { persistence } = brokerInternals(broker)
      // aedes stores before it publishes. A withdrawn message must not be a duplicate when it is resent.
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
      const message = new IncomingPublish(sender, packet, callback, false, source, isTopicUnchanged)
      message.removeStored = () => void withdraw()
      if (source === undefined) guard.senderQueue().admit(message, enact)
      else source.senderQueue.admit(message, enact)
    }
  }

  function degrade(decision: Decision, message: IncomingPublish): void {
    const degraded = degradePacket(gate.ruleOf(decision.rule ?? ''), message, decision)
    if (degraded === undefined) {
      pass(decision, message)
      return
    }
    counters.degraded++
    interceptor.replace(message.packet, degraded, acknowledgementOf(message))
    message.callback(null)
  }

  /** Returns the function to call when aedes has published a message; undefined if that makes no difference. */
  function acknowledgementOf(message: IncomingPublish): ((error?: Error | null) => void) | undefined {
    const { qos, source, packet, will } = message
    if (qos === 2) return source?.expectAcknowledgement()
    if (!settings.acknowledgeStored || qos !== 1 || will || source === undefined) return undefined
    return deferAcknowledgement(packet, source)
  }

  /** Defers the PUBACK of a packet until it is published. Returns the function that then writes it. */
  function deferAcknowledgement(packet: PacketLike, source: PublishSource): (error?: Error | null) => void {
    const write = source.expectPuback(packet.messageId!)
    deferPuback(packet)
    return write
  }

  function refuse(decision: Decision, message: IncomingPublish): void {
    const { source, packet, callback } = message
    // A message superseded by a newer one is not a refusal.
    if (decision.reason === 'superseded') {
      discard(packet, callback, acknowledgementOf(message))
      return
    }
    if (message.will && source?.disconnectReason === 'policy' && decision.reason !== 'banned') {
      // The refusals that disconnected the client have used up the limits of its will. Rules about connects bound how
      // often.
      callback(null)
      return
    }
    context.refusals.recordRefusal(message, decision)
    const replacement = decision.outcome === 'redirect' ? redirect(decision, message) : undefined
    if (message.will && replacement === undefined) {
      // An error would make aedes emit 'error' for a restored will, which can end the process.
      counters.willsRefused++
      discard(packet, callback)
      return
    }
    const isOffence = decision.reason !== 'unchanged' && !message.will
    if (decision.outcome === 'disconnect' || (isOffence && source?.recordRefusal(message, decision))) {
      counters.disconnected++
      source?.disconnect(clientRefusalError(decision, 'publish'), callback)
      return
    }
    // MQTT 3.1.1 has no reason codes: acknowledge [MQTT-3.3.5-2], and discard or publish elsewhere.
    if (replacement !== undefined) {
      counters.redirected++
      interceptor.replace(packet, replacement, acknowledgementOf(message))
      callback(null)
      return
    }
    if (!SUPPORTED_REFUSALS.has(decision.outcome)) counters.unsupported++
    counters.dropped++
    if (message.isTopicUnchanged && message.qos === 0 && decision.reason !== 'retained_exceeded')
      source?.filterTopic(message.topic)
    discard(packet, callback, acknowledgementOf(message))
  }

  function redirect(decision: Decision, message: IncomingPublish): PacketLike | undefined {
    const ruleInfo = gate.ruleOf(decision.rule ?? '')
    if (ruleInfo?.exceeded.redirect === undefined) counters.unsupported++
    return redirectPacket(broker, ruleInfo, message, decision)
  }

  function discard(packet: object, callback: Callback, acknowledged?: (error?: Error | null) => void): void {
    interceptor.discard(packet, acknowledged)
    callback(null)
  }

  function askUnlessStored(client: Client): Ask<IncomingPublish> {
    return message => {
      const { persistence } = brokerInternals(broker)
      if (typeof persistence?.incomingGetPacket !== 'function') return guard.ask(message)
      return new Promise<unknown>(resolve => {
        resolve(persistence.incomingGetPacket?.(client, message.packet))
      }).then(
        () => ALREADY_STORED,
        () => guard.ask(message),
      )
    }
  }

  // aedes' own hook only keeps clients from $SYS. With `guardSys` it need not be called, which saves a closure per
  // message.
  const aedesHook = settings.guardSys ? new Aedes().authorizePublish : undefined

  const hook = composeMessageHook(broker, 'authorizePublish', composed => {
    const { userHook } = composed
    context.mayFilterRaw = () => !broker.closed && (settings.skimRefused === true || userHook === aedesHook)
    return (client, packet, callback) => {
      if (composed.isRetired) {
        userHook.call(broker, client, packet, callback)
        return
      }
      const connection = client === null ? undefined : context.connectionOf(client)
      const isPublish = packet.cmd === 'publish'
      const decided = isPublish ? connection?.rawFilter?.takeDecision() : undefined
      if (userHook === aedesHook) {
        admit(client, connection, packet, callback, true, decided)
        if (!isPublish) connection?.markWillDone()
        return
      }
      const { topic } = packet
      if (connection !== undefined) connection.pendingHookCalls++
      userHook.call(broker, client, packet, error => {
        if (connection !== undefined) connection.pendingHookCalls--
        if (!error) admit(client, connection, packet, callback, packet.topic === topic, decided)
        else if (client === null) discard(packet, callback)
        else if (error instanceof NotAuthorizedError) refuseUnauthorized(client, connection, packet, callback)
        else callback(error)
        if (!isPublish) connection?.markWillDone()
        else if (connection?.isClosed) connection.releaseIfFinished()
      })
    }
  })
  context.beforeReading = () => void hook.recompose()
  const register = (client: Client): void => context.connectionOf(client).register()
  broker.on('client', register)
  return () => {
    broker.off('client', register)
    hook.detach()
  }
}
