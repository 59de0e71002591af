import type { AuthenticateError, Client } from 'aedes'
import { CONNECT_TOPIC } from '../../src/broker-support/connect-topic.ts'
import type { Decision } from '../../src/core/decision.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { Message, Sender } from '../../src/core/message.ts'
import type { Ask } from '../../src/guard/guard.ts'
import type { BrokerContext } from './broker-context.ts'
import { canEnactOutcome } from './capabilities.ts'
import { composeHook } from './compose-hooks.ts'
import { AedesMessage } from './message.ts'
import { clientRefusalError } from './refusal-error.ts'
import type { ResourceCounter } from './resource-counter.ts'

/** A connect. Its sender is a claim until the application has checked the password. */
class ConnectMessage extends AedesMessage {
  constructor(sender: Sender) {
    super('connect', sender, { topic: CONNECT_TOPIC })
  }

  get claimed(): boolean {
    return true
  }
}

/**
 * Limits connects before the application's `authenticate` runs, which may be expensive. A refused client gets a
 * CONNACK, but none with the outcome `disconnect`. Returns a function that detaches it.
 */
export function limitConnects(context: BrokerContext, resources: ResourceCounter): () => void {
  const { broker, gate, guard, settings, counters } = context

  // A client stops waiting for its CONNACK after a while, so a wait that long is a refusal. Connects are never queued.
  const askBriefly: Ask<Message> = message => {
    const answer = guard.ask(message)
    return answer instanceof Promise ? answer.then(shorten) : shorten(answer)
  }
  function shorten(decision: Decision): Decision {
    const isTooLong = decision.outcome === 'throttle' && decision.retryAfterMs > settings.maxConnectHoldMs
    const isUnsupported = !decision.allowed && !canEnactOutcome('connect', decision.outcome)
    return isTooLong || isUnsupported ? { ...decision, outcome: 'reject' } : decision
  }

  const detachPreConnect = composeHook(broker, 'preConnect', composed => (client, packet, callback) => {
    if (!composed.isRetired) context.recordConnect(client, packet)
    composed.userHook.call(broker, client, packet, callback)
  })

  const detachAuthenticate = composeHook(
    broker,
    'authenticate',
    composed => (client, username, password, done) => {
      const { userHook } = composed
      if (composed.isRetired) {
        userHook.call(broker, client, username, password, done)
        return
      }
      if (client.id.length > MAX_SIZES.hashedChars) {
        counters.connectsRefused++
        done(Object.assign(new Error('identifier rejected'), { returnCode: 2 }), false)
        return
      }
      const connection = context.connectionOf(client)
      const message = new ConnectMessage(connection.sender)
      const enact = (decision: Decision): void => {
        if (client.closed) return
        if (decision.allowed) {
          userHook.call(broker, client, username, password, (error, isAuthenticated) => {
            const refusal =
              error || !isAuthenticated
                ? undefined
                : (gate.confirmConnect(message) ?? resources.addConnection(client, connection, message))
            if (refusal) refuse(refusal)
            else done(error, isAuthenticated)
          })
        } else refuse(decision)
      }
      const refuse = (decision: Decision): void => {
        counters.connectsRefused++
        context.refusals.recordRefusal(message, decision)
        if (decision.outcome === 'disconnect') closeSoon(client)
        else done(connackError(decision, settings.refusedReturnCode), false)
      }
      connection.requests.admit(
        message,
        enact,
        asked => resources.checkConnection(client, asked) ?? askBriefly(asked),
      )
    },
  )

  return () => {
    detachPreConnect()
    detachAuthenticate()
  }
}

function connackError(decision: Decision, returnCode: number): AuthenticateError {
  return Object.assign(clientRefusalError(decision, 'connect'), { returnCode })
}

/** Closes the connection in the next turn of the event loop, because aedes is still working on its packet. */
function closeSoon(client: Client): void {
  setImmediate(() => client.close())
}
