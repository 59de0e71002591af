import type { Capabilities } from './capabilities.ts'

/** Source of messages that can be stopped. */
export interface MessageSource {
  /** Capabilities of the source, checked again when the policy changes. */
  readonly capabilities: Capabilities
  /** Number of messages held now. */
  readonly held: number
  /** Number of messages still to come when the last one arrived. JetStream only. */
  readonly lag?: number | undefined
  /** Reason why no messages arrive. JetStream only. */
  readonly problem?: string | undefined
  /** Stops receiving. Messages that have arrived are still handled. */
  stop(): Promise<void>
}
