import type { CapturedFields } from '../../admin/state/captured-fields.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'

type SenderPart = 'client' | 'user' | 'device'
const PARTS: readonly string[] = ['client', 'user', 'device'] satisfies SenderPart[]
const CAPTURE = /^\{([A-Za-z_]\w*)\}$/

/**
 * A subscription for a capture. A broker does not say who published a message, so levels named {client}, {user} and
 * {device} name its sender.
 */
export class TopicSubscription {
  /** Filter or subject as the broker knows it. */
  readonly filter: string
  readonly #separator: string
  readonly #parts: readonly (readonly [part: SenderPart, level: number])[]

  /** `text` is a filter or subject, in which any level may be a name in braces. */
  constructor(text: string, protocol: 'mqtt' | 'nats') {
    this.#separator = protocol === 'mqtt' ? '/' : '.'
    const levels = text.split(this.#separator)
    this.filter = levels
      .map(level => (CAPTURE.test(level) ? (protocol === 'mqtt' ? '+' : '*') : level))
      .join(this.#separator)
    if (/[{}]/.test(this.filter)) {
      const remedy = 'write a whole level in braces, as fleet/{site}/{client}/#'
      throw new CommandError(`"${text}" is not a topic (${remedy})`, EXIT.usage)
    }
    this.#parts = levels.flatMap((level, index) => {
      const [, name = ''] = CAPTURE.exec(level) ?? []
      return PARTS.includes(name) ? [[name as SenderPart, index] as const] : []
    })
  }

  /** Returns the parts of the sender that a topic names. */
  senderOf(topic: string): Pick<CapturedFields, SenderPart> {
    const levels = topic.split(this.#separator)
    return Object.fromEntries(this.#parts.map(([part, level]) => [part, levels[level]]))
  }
}
