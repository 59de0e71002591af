import { CommandError, EXIT, explainError } from '../terminal/command-error.ts'
import { requirePackages } from '../terminal/required-packages.ts'
import type { CaptureTarget } from './captured-message.ts'
import { TopicSubscription } from './topic-subscription.ts'

/** Captures what a NATS server delivers to subscriptions, until `ended` resolves. */
export async function captureFromNats(
  url: string,
  subjects: readonly string[],
  target: CaptureTarget,
  ended: Promise<unknown>,
): Promise<void> {
  requirePackages('capture --from nats')
  const subscriptions = subjects.map(subject => new TopicSubscription(subject, 'nats'))
  const { connect } = await import('@nats-io/transport-node')
  const { host, username, password } = new URL(url)
  const login =
    username === '' ? {} : { user: decodeURIComponent(username), pass: decodeURIComponent(password) }
  const connection = await connect({ servers: host, ...login }).catch((cause: unknown) => {
    const [reason = ''] = explainError(cause, false).lines
    throw new CommandError(
      `nats://${host} cannot be reached: ${reason.replace(/^error: /, '')}`,
      EXIT.unavailable,
      {
        cause,
      },
    )
  })
  try {
    for (const subscription of subscriptions) {
      connection.subscribe(subscription.filter, {
        callback: (error, message) => {
          if (error !== null) return
          const { subject: topic, data } = message
          target.record({ at: Date.now(), topic, ...subscription.senderOf(topic), size: data.length })
        },
      })
    }
    await connection.flush()
    await ended
  } finally {
    await connection.close()
  }
}
