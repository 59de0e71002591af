import type { NatsConnection } from '@nats-io/transport-node'
import { CommandError, EXIT, explainError } from '../terminal/command-error.ts'
import { requirePackages } from '../terminal/required-packages.ts'
import type { CaptureTarget } from './captured-message.ts'
import type { ConnectionGaps } from './connection-gaps.ts'
import { subscriptionRefused } from './subscription-refused.ts'
import { TopicSubscription } from './topic-subscription.ts'

/** Captures what a NATS server delivers to subscriptions, until `ended` resolves. */
export async function captureFromNats(
  url: string,
  subjects: readonly string[],
  target: CaptureTarget,
  gaps: ConnectionGaps,
  ended: Promise<unknown>,
): Promise<void> {
  requirePackages('capture --from nats')
  const subscriptions = subjects.map(subject => new TopicSubscription(subject, 'nats'))
  const { connect } = await import('@nats-io/transport-node')
  const { host, username, password } = new URL(url)
  const login =
    username === '' ? {} : { user: decodeURIComponent(username), pass: decodeURIComponent(password) }
  const connection = await connect({ servers: host, maxReconnectAttempts: -1, ...login }).catch(
    (cause: unknown) => {
      const [reason = ''] = explainError(cause, false).lines
      throw new CommandError(
        `nats://${host} cannot be reached: ${reason.replace(/^error: /, '')}`,
        EXIT.unavailable,
        {
          cause,
        },
      )
    },
  )
  void recordGaps(connection, gaps)
  let refuse: (error: CommandError) => void = () => {}
  const refused = new Promise<never>((_, reject) => {
    refuse = reject
  })
  try {
    for (const subscription of subscriptions) {
      connection.subscribe(subscription.filter, {
        callback: (error, message) => {
          if (error !== null) {
            refuse(subscriptionRefused(subscription.filter, error))
            return
          }
          const { subject: topic, data } = message
          target.record({ at: Date.now(), topic, ...subscription.senderOf(topic), size: data.length })
        },
      })
    }
    await connection.flush()
    await Promise.race([ended, refused])
  } finally {
    await connection.close()
  }
}

async function recordGaps(connection: NatsConnection, gaps: ConnectionGaps): Promise<void> {
  for await (const { type } of connection.status()) {
    if (type === 'disconnect') gaps.recordLoss(Date.now())
    else if (type === 'reconnect') gaps.recordReturn(Date.now())
  }
}
