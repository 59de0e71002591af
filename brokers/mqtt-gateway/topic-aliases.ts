interface TopicAlias {
  topic: string
  /** True if the receiver has got a message that sets the alias to this topic. */
  isKnownToReceiver: boolean
}

/**
 * Topic aliases of one direction of a connection. Why: if the message that sets an alias is not forwarded, the receiver
 * cannot read later messages that use it, and closes the connection.
 */
export class TopicAliases {
  /** Highest alias that the receiver accepts. */
  readonly maximum: number
  readonly #aliases = new Map<number, TopicAlias>()

  constructor(maximum: number) {
    this.maximum = maximum
  }

  /** Records that a message, forwarded or not, sets an alias. */
  set(alias: number, topic: string): void {
    if (alias < 1 || alias > this.maximum) return
    const known = this.#aliases.get(alias)
    if (known?.topic === topic) return
    this.#aliases.set(alias, { topic, isKnownToReceiver: false })
  }

  topicOf(alias: number): string | undefined {
    return this.#aliases.get(alias)?.topic
  }

  isKnownToReceiver(alias: number): boolean {
    return this.#aliases.get(alias)?.isKnownToReceiver === true
  }

  /** Records that a message with this alias and its topic was forwarded. */
  markKnownToReceiver(alias: number): void {
    const known = this.#aliases.get(alias)
    if (known !== undefined) known.isKnownToReceiver = true
  }
}
