import type { Corkable, ReceivingClient } from './client.ts'
import { canReleaseQoS2, releaseQoS2, sendAck, streamOf } from './client-internals.ts'
import type { KeepAlive } from './keep-alive.ts'
import type { ReceivedMessage } from './message.ts'

/** Acknowledgements that are written together at the most: so many more may come twice when a consumer is killed. */
export const TOGETHER = 16

/** Given an error MQTT.js acknowledges nothing and brings the next message. */
const NOT_YET = new Error('acknowledged apart')

const ignore = (): void => {}

/** The acknowledgements a client owes its broker. */
export class Acks {
  /** Counts connections: what came on one that is gone is not acknowledged on another. */
  connection = 0
  readonly #client: ReceivingClient
  readonly #keepAlive: KeepAlive
  /** The socket they are held back from, and how many. */
  #held: Corkable | undefined
  #count = 0
  readonly #flush = (): void => this.flush()

  constructor(client: ReceivingClient, keepAlive: KeepAlive) {
    this.#client = client
    this.#keepAlive = keepAlive
  }

  /** Acknowledges a message, once, with a reason code, 0 unless it was refused, and has the client go on. */
  finish(message: ReceivedMessage, reasonCode: number): void {
    if (message.continueReading === undefined) return
    if (message.isAhead) this.#send(message, reasonCode)
    else if (message.stage !== 'due') this.#continueReading(message, reasonCode)
    else if (reasonCode === 0) {
      if (message.qos > 0) this.#gather()
      this.#continueReading(message)
    } else {
      // Sent first: the client may bring the next message at once, whose acknowledgement must not overtake it.
      this.#send(message, reasonCode)
      this.goAhead(message)
    }
    message.continueReading = undefined
  }

  /** Whether a message can be acknowledged apart from the client. */
  canGoAhead({ qos, stage }: ReceivedMessage): boolean {
    return qos !== 2 || stage !== 'due' || canReleaseQoS2(this.#client)
  }

  /** Has the client bring the next message while this one is not acknowledged yet. */
  goAhead(message: ReceivedMessage): void {
    message.isAhead = true
    this.#continueReading(message, NOT_YET)
  }

  /** Writes what was gathered. */
  flush(): void {
    const held = this.#held
    this.#held = undefined
    held?.uncork?.()
  }

  #continueReading(message: ReceivedMessage, given?: Error | number): void {
    if (message.connection === this.connection) this.#keepAlive.rest()
    message.continueReading?.(given)
  }

  /**
   * Has the acknowledgement that follows written together with others of messages that are handled in one go: one call of
   * the system for up to {@link TOGETHER} where MQTT.js makes one for each. None waits for longer than that go.
   */
  #gather(): void {
    if (this.#held === undefined) {
      const stream = streamOf(this.#client)
      if (stream?.cork === undefined) return
      this.#held = stream
      this.#count = 1
      stream.cork()
      // Microtasks come when the queue of ticks is empty, in which MQTT.js has put all it has read at once.
      queueMicrotask(this.#flush)
    } else if (++this.#count > TOGETHER) {
      this.#count = 1
      this.#held.uncork?.()
      this.#held.cork?.()
    }
  }

  /** Acknowledges what the client has gone ahead of, as it would have done itself. */
  #send({ packet, qos }: ReceivedMessage, reasonCode: number): void {
    const client = this.#client
    const { messageId } = packet
    if (qos === 0 || messageId === undefined) return
    if (qos === 2) {
      client.incomingStore.del(packet, ignore)
      releaseQoS2(client, messageId)
    }
    // Offline, the client would keep it for another connection, where it may answer for another message.
    if (!client.connected) return
    sendAck(client, qos === 2 ? { cmd: 'pubcomp', messageId } : { cmd: 'puback', messageId, reasonCode })
  }
}
