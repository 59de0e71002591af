import type { AuthenticateError, Client } from 'aedes'
import type { Decision } from '../../src/core/decision.ts'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import type { Message, Sender } from '../../src/core/message.ts'
import type { Ask } from '../../src/guard/guard.ts'
import { isSupported } from './capabilities.ts'
import type { BrokerContext } from './context.ts'
import { composeHook } from './hooks.ts'
import { AedesMessage } from './message.ts'
import { refusalError } from './refusal-error.ts'

/** The topic of a connect, which has none: rules for connects stand on every topic or on this one. */
export const CONNECT_TOPIC = 'connect'

/** A connect: who sends it is a claim until the application has looked at its password. */
class ConnectMessage extends AedesMessage {
  constructor(sender: Sender) {
    super('connect', sender, { topic: CONNECT_TOPIC })
  }

  get claimed(): boolean {
    return true
  }
}

/**
 * Limits connects, before the application's `authenticate` is asked, which may cost much. A refused one gets its
 * CONNACK; with `disconnect` it gets none. Returns what takes it off again.
 */
export function limitConnects(context: BrokerContext): () => void {
  const { broker, gate, guard, settings, counters, holdings } = context

  // A client gives up on its CONNACK after a while: a wait that long is a refusal, and no connect stands in a queue.
  const askSoon: Ask<Message> = message => {
    const answer = guard.ask(message)
    return answer instanceof Promise ? answer.then(shorten) : shorten(answer)
  }
  function shorten(decision: Decision): Decision {
    const tooLong = decision.outcome === 'throttle' && decision.retryAfterMs > settings.maxConnectHoldMs
    const unfit = !decision.allowed && !isSupported('connect', decision.outcome)
    return tooLong || unfit ? { ...decision, outcome: 'reject' } : decision
  }

  const detachPreConnect = composeHook(broker, 'preConnect', composed => (client, packet, callback) => {
    if (!composed.retired) context.greet(client, packet)
    composed.users.call(broker, client, packet, callback)
  })

  const detachAuthenticate = composeHook(
    broker,
    'authenticate',
    composed => (client, username, password, done) => {
      const { users } = composed
      if (composed.retired) {
        users.call(broker, client, username, password, done)
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
          users.call(broker, client, username, password, (error, isGood) => {
            const refusal =
              error || !isGood
                ? undefined
                : (gate.confirmConnect(message) ?? holdings.addConnection(client, connection, message))
            if (refusal) refuse(refusal)
            else done(error, isGood)
          })
        } else refuse(decision)
      }
      const refuse = (decision: Decision): void => {
        counters.connectsRefused++
        context.refusals.recordRefusal(message, decision)
        if (decision.outcome === 'disconnect') closeSoon(client)
        else done(connackError(decision, settings.refusedReturnCode), false)
      }
      connection.requests.admit(message, enact, asked => holdings.askConnect(client, asked) ?? askSoon(asked))
    },
  )

  return () => {
    detachPreConnect()
    detachAuthenticate()
  }
}

function connackError(decision: Decision, returnCode: number): AuthenticateError {
  return Object.assign(refusalError(decision, 'connect'), { returnCode })
}

/** Not at once: aedes is in the midst of its own steps. */
function closeSoon(client: Client): void {
  setImmediate(() => client.close())
}
