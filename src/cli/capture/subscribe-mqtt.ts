import type { ISubscriptionGrant, MqttClient } from 'mqtt'
import { subscriptionRefused } from './subscription-refused.ts'

/** Lowest reason code of a SUBACK that refuses a filter. */
const FIRST_REFUSAL = 0x80

/** Subscribes to filters. Rejects with CommandError, exit code 77, if the broker refuses one, and with the error of the client if the connection is lost. */
export async function subscribeMqtt(
  client: MqttClient,
  filters: readonly string[],
  qos: 0 | 1 | 2,
): Promise<void> {
  let granted: readonly ISubscriptionGrant[]
  try {
    granted = await client.subscribeAsync([...filters], { qos })
  } catch (cause) {
    // Newer clients reject for a refused filter.
    if (client.connected) throw subscriptionRefused(filters.join(', '), cause)
    throw cause
  }
  const refused = granted.filter(grant => grant.qos >= FIRST_REFUSAL).map(({ topic }) => topic)
  if (refused.length > 0) throw subscriptionRefused(refused.join(', '))
}
