import { matches } from '../../index.ts'
import { CommandError, EXIT, explainError } from '../terminal/command-error.ts'
import { requirePackages } from '../terminal/required-packages.ts'
import type { CaptureTarget } from './captured-message.ts'
import type { ConnectionGaps } from './connection-gaps.ts'
import { subscribeMqtt } from './subscribe-mqtt.ts'
import { TopicSubscription } from './topic-subscription.ts'

/** Captures what an MQTT broker delivers to subscriptions, without retained messages, until `ended` resolves. */
export async function captureFromMqtt(
  url: string,
  topics: readonly string[],
  target: CaptureTarget,
  gaps: ConnectionGaps,
  ended: Promise<unknown>,
): Promise<void> {
  requirePackages('capture --from mqtt')
  const subscriptions = topics.map(topic => new TopicSubscription(topic, 'mqtt'))
  const { connectAsync } = await import('mqtt')
  const client = await connectAsync(url, { clean: true }, false).catch((cause: unknown) => {
    const [reason = ''] = explainError(cause, false).lines
    const text = `${withoutPassword(url)} cannot be reached: ${reason.replace(/^error: /, '')}`
    throw new CommandError(text, EXIT.unavailable, { cause })
  })
  const recordLoss = (): void => gaps.recordLoss(Date.now())
  try {
    client.on('close', recordLoss)
    client.on('connect', () => gaps.recordReturn(Date.now()))
    client.on('message', (topic, payload, { qos, retain }) => {
      // Published before the capture.
      if (retain) return
      const sender = subscriptions.find(({ filter }) => matches(filter, topic))?.senderOf(topic)
      target.record({ at: Date.now(), topic, ...sender, size: payload.length, qos })
    })
    const filters = subscriptions.map(({ filter }) => filter)
    await subscribeMqtt(client, filters, 2)
    await ended
  } finally {
    client.off('close', recordLoss)
    await client.endAsync(true)
  }
}

function withoutPassword(url: string): string {
  return url.replace(/\/\/[^@/]*@/, '//')
}
