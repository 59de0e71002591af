import type { Aedes, Client, Subscription } from 'aedes'
import type { Decision } from '../../src/core/decision.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import { aedesClientInternals, brokerInternals } from './aedes-internals.ts'
import type { BrokerContext } from './broker-context.ts'
import { composeHook } from './compose-hooks.ts'
import { AedesMessage } from './message.ts'
import { clientRefusalError } from './refusal-error.ts'
import type { ResourceCounter } from './resource-counter.ts'

/**
 * Limits subscriptions, one message per filter; refused filters get 0x80. Filters that a session restores on reconnect
 * are not counted. Returns a function that detaches it.
 */
export function limitSubscriptions(context: BrokerContext, resources: ResourceCounter): () => void {
  const { broker, guard, counters } = context
  // Filters that the application's own hook refuses stay in the session, as in plain aedes.
  const refusedByRules = new WeakSet<Subscription>()

  const detach = composeHook(broker, 'authorizeSubscribe', composed => (client, subscription, callback) => {
    const { userHook, isRetired } = composed
    userHook.call(broker, client, subscription, (error, granted) => {
      // During connect, aedes restores the filters of a session; a refusal would silently lose them.
      if (error || !granted || !client.connected || isRetired) {
        if (!error && granted && !isRetired)
          resources.restoreSubscription(client, context.connectionOf(client).sender, granted.topic)
        callback(error, granted)
        return
      }
      const connection = context.connectionOf(client)
      if (
        context.notices?.mayRead(client, granted.topic) === false ||
        granted.topic.length > MAX_SIZES.hashedChars
      ) {
        counters.subscriptionsRefused++
        refusedByRules.add(subscription)
        callback(null, null)
        return
      }
      const message = new AedesMessage('subscribe', connection.sender, {
        topic: granted.topic,
        qos: granted.qos,
      })
      const refuse = (decision: Decision): void => {
        counters.subscriptionsRefused++
        refusedByRules.add(subscription)
        context.refusals.recordRefusal(message, decision)
        // As for publishes: a client that continues is not read for a while, or is disconnected.
        const isTooMuch = connection.recordRefusal(message, decision)
        if (decision.outcome === 'disconnect' || isTooMuch) {
          counters.disconnected++
          connection.disconnect(clientRefusalError(decision, 'subscribe'), refusal => callback(refusal))
        } else {
          callback(null, null)
        }
      }
      connection.admitRequest(
        message,
        decision => {
          if (connection.isDisconnecting || client.closed) return
          const refusal = decision.allowed ? resources.addSubscription(client, message) : decision
          if (refusal === undefined) callback(null, granted)
          else refuse(refusal)
        },
        asked => resources.checkSubscription(client, asked) ?? guard.ask(asked),
      )
    })
  })

  // aedes persists all filters of a SUBSCRIBE if one was granted.
  const forgetRefused = (subscriptions: readonly Subscription[], client: Client): void => {
    if (client.clean) return
    const refused = subscriptions.filter(each => refusedByRules.has(each)).map(({ topic }) => topic)
    if (refused.length > 0) void restoreSession(context, client, refused)
  }
  broker.on('subscribe', forgetRefused)
  const detachStoring = storeOnce(broker)

  return () => {
    detach()
    detachStoring()
    broker.off('subscribe', forgetRefused)
  }
}

/** Removes refused filters from a session, or restores what was granted before. */
async function restoreSession(
  context: BrokerContext,
  client: Client,
  refused: readonly string[],
): Promise<void> {
  const { persistence } = brokerInternals(context.broker)
  const granted = aedesClientInternals(client).subscriptions ?? {}
  const previouslyGranted = refused.flatMap(topic => (granted[topic] ? [{ ...granted[topic], topic }] : []))
  try {
    await persistence?.removeSubscriptions?.(
      client,
      refused.filter(topic => !granted[topic]),
    )
    if (previouslyGranted.length > 0) await persistence?.addSubscriptions?.(client, previouslyGranted)
  } catch (err) {
    context.logger.warn(
      { err, client: client.id },
      'removing refused subscriptions from the session failed, they may return on reconnect',
    )
  }
}

/**
 * Stores the filters of a SUBSCRIBE once. Why: aedes stores all of them again for each granted one, so 1,000 filters
 * cost a million writes. Returns a function that detaches it.
 */
function storeOnce(broker: Aedes): () => void {
  const { persistence } = brokerInternals(broker)
  const before = persistence?.addSubscriptions
  if (persistence === undefined || typeof before !== 'function') return () => {}
  const isOwn = Object.hasOwn(persistence, 'addSubscriptions')
  /** Keyed by the list of a packet, which aedes creates for that packet alone. */
  const stored = new WeakMap<readonly Subscription[], Promise<unknown>>()
  const add: typeof before = (client, subscriptions) => {
    const known = stored.get(subscriptions)
    if (known !== undefined) return known
    const promise = before.call(persistence, client, subscriptions)
    stored.set(subscriptions, promise)
    return promise
  }
  persistence.addSubscriptions = add
  return () => {
    if (persistence.addSubscriptions !== add) return
    if (isOwn) persistence.addSubscriptions = before
    else delete persistence.addSubscriptions
  }
}
