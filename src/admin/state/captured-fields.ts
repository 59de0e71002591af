import type { Message, Operation } from '../../core/message.ts'

/** A message of a capture, in the fields of its line. */
export interface CapturedFields {
  /** Whole milliseconds since the Unix epoch. */
  readonly at: number
  readonly topic: string
  readonly on?: Operation | undefined
  readonly client?: string | undefined
  readonly user?: string | undefined
  readonly device?: string | undefined
  readonly ip?: string | undefined
  readonly roles?: readonly string[] | undefined
  readonly tier?: string | undefined
  readonly size: number
  readonly qos?: number | undefined
  readonly retain?: boolean | undefined
  readonly will?: boolean | undefined
}

/** Describes a message without its payload and API key. */
export function describeMessage(message: Message, at: number): CapturedFields {
  const { topic, on, sender, size, qos, retain, will } = message
  const { client, user, device, ip, roles, tier } = sender
  return { at, topic, on, client, user, device, ip, roles, tier, size, qos, retain, will }
}
