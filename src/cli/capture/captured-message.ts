import { createHmac, randomBytes } from 'node:crypto'
import type { CapturedFields } from '../../admin/state/captured-fields.ts'
import { keyPosition } from '../../core/key-position.ts'

/** Receives captured messages. `isFull` is true once no more are taken. */
export interface CaptureTarget {
  readonly isFull: boolean
  record(message: CapturedFields): void
  /** Resolves when the output has taken what is being written. */
  drained(): Promise<void>
}

const NAMES = ['client', 'user', 'device'] as const

/**
 * Chooses a share of the senders, always the same ones, because limits need whole histories. Senders without a name are
 * chosen by address or topic.
 */
export function isSampled({ client, user, device, ip, topic }: CapturedFields, share: number): boolean {
  // Not the position that shadow shares use: a sample must have senders of all shares.
  return share === 1 || keyPosition(`capture ${client ?? device ?? user ?? ip ?? topic}`) < share
}

/** Returns a random key of pseudonyms. */
export function createPseudonymKey(): string {
  return randomBytes(32).toString('base64url')
}

/**
 * Replaces the names of senders by pseudonyms, also where they are levels of the topic, and leaves out addresses. A name
 * has one pseudonym in a capture. Nobody can compute it again, because the key is thrown away.
 */
export class Pseudonyms {
  readonly #key: string

  /** Default: a random key. */
  constructor(key = createPseudonymKey()) {
    this.#key = key
  }

  replaceNames(message: CapturedFields): CapturedFields {
    const replaced = new Map<string, string>()
    for (const part of NAMES) {
      const name = message[part]
      if (name !== undefined && name !== '') replaced.set(name, this.#pseudonymOf(name))
    }
    const { client = '', user = '', device = '' } = message
    const separator = message.topic.includes('/') ? '/' : '.'
    const levels = message.topic.split(separator).map(level => replaced.get(level) ?? level)
    return {
      ...message,
      topic: levels.join(separator),
      client: replaced.get(client),
      user: replaced.get(user),
      device: replaced.get(device),
      ip: undefined,
    }
  }

  #pseudonymOf(name: string): string {
    return createHmac('sha256', this.#key).update(name).digest('base64url').slice(0, 16)
  }
}
