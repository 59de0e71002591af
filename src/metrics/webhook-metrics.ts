import { type MetricFamily, singleValue } from './metric-family.ts'
import type { Webhook } from './webhook.ts'

/** Returns the metrics of the webhook that receives alerts. */
export function collectWebhookMetrics(webhook: Webhook | undefined): readonly MetricFamily[] {
  if (webhook === undefined) return []
  const { waiting, delivered, lost, failedAttempts } = webhook.stats()
  return [
    singleValue('topicgate_webhook_waiting_alerts', 'Alerts that wait for the webhook.', 'gauge', waiting),
    singleValue(
      'topicgate_webhook_delivered_total',
      'Alerts that the webhook accepted.',
      'counter',
      delivered,
    ),
    singleValue('topicgate_webhook_lost_total', 'Alerts that the webhook did not get.', 'counter', lost),
    singleValue(
      'topicgate_webhook_failed_attempts_total',
      'Requests to the webhook that failed or were refused.',
      'counter',
      failedAttempts,
    ),
  ]
}
