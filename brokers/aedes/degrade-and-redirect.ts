import type { Aedes } from 'aedes'
import type { Decision } from '../../src/core/decision.ts'
import { degradeMessage } from '../../src/outcomes/degrade.ts'
import { redirectTopic } from '../../src/outcomes/redirect.ts'
import type { RuleInfo } from '../../src/outcomes/rule-info.ts'
import { brokerInternals } from './aedes-internals.ts'
import type { AedesMessage, PacketLike } from './message.ts'

/**
 * Returns the packet to publish in place of a degraded one; undefined if the rule does not say how. The original packet
 * is unchanged, because it is acknowledged by its own QoS.
 */
export function degradePacket(
  ruleInfo: RuleInfo | undefined,
  message: AedesMessage,
  decision: Decision,
): PacketLike | undefined {
  const plan = ruleInfo?.exceeded.degrade
  if (plan === undefined) return undefined
  const { payload, retain, qos } = degradeMessage(plan, message, decision)
  const { packet } = message
  return { ...packet, retain, qos, ...(payload === undefined ? {} : { payload: Buffer.from(payload) }) }
}

/**
 * Returns the packet to publish in place of a redirected one, never retained; undefined if there is no valid topic, and
 * the message is then dropped.
 */
export function redirectPacket(
  broker: Aedes,
  ruleInfo: RuleInfo | undefined,
  message: AedesMessage,
  decision: Decision,
): PacketLike | undefined {
  const plan = ruleInfo?.exceeded.redirect
  if (plan === undefined) return undefined
  const topic = redirectTopic(plan, message, decision, ruleInfo?.capturesOf(message.topic))
  if (topic === undefined || topic.split('/').length > (brokerInternals(broker).maxTopicLevels ?? Infinity))
    return undefined
  return { ...message.packet, topic, retain: false }
}
