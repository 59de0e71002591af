import type { Aedes } from 'aedes'
import type { Decision } from '../../src/core/decision.ts'
import { degradeMessage } from '../../src/outcomes/degrade.ts'
import { redirectTopic } from '../../src/outcomes/redirect.ts'
import type { RuleInfo } from '../../src/outcomes/rule-info.ts'
import type { AedesMessage, PacketLike } from './message.ts'

/** The deepest topic aedes takes: beyond it a publish would cost its client the connection. Not in its types. */
interface Deep {
  readonly maxTopicLevels?: number | undefined
}

/**
 * What is published in the place of a degraded packet; undefined where its rule says nothing of how. Its sender's
 * packet stays as it is: it is acknowledged by the QoS it came with.
 */
export function degradedPacket(
  facts: RuleInfo | undefined,
  message: AedesMessage,
  decision: Decision,
): PacketLike | undefined {
  const plan = facts?.exceeded.degrade
  if (plan === undefined) return undefined
  const { payload, retain, qos } = degradeMessage(plan, message, decision)
  const { packet } = message
  return { ...packet, retain, qos, ...(payload === undefined ? {} : { payload: Buffer.from(payload) }) }
}

/**
 * What is published in the place of a redirected packet, never retained; undefined where there is no topic it may go
 * to, and it is dropped.
 */
export function redirectedPacket(
  broker: Aedes,
  facts: RuleInfo | undefined,
  message: AedesMessage,
  decision: Decision,
): PacketLike | undefined {
  const plan = facts?.exceeded.redirect
  if (plan === undefined) return undefined
  const topic = redirectTopic(plan, message, decision, facts?.capturesOf(message.topic))
  if (topic === undefined || topic.split('/').length > ((broker as Deep).maxTopicLevels ?? Infinity))
    return undefined
  return { ...message.packet, topic, retain: false }
}
