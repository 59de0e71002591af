import { canAckQoS2Separately, releaseIncomingQoS2, sendAck, socketOf } from './client-internals.ts'
import type { Corkable, ReceivingClient } from './client-types.ts'
import type { KeepAlivePinger } from './keep-alive.ts'
import type { ReceivedMessage } from './message.ts'

/** Most acknowledgements written together. At most this many messages come twice if a consumer is killed. */
export const MAX_BATCHED_ACKS = 16

/** Error with which MQTT.js reads the next message and does not acknowledge this one. */
const NOT_ACKNOWLEDGED = new Error('acknowledged separately')

const ignore = (): void => {}

/** Sends the acknowledgements of a client. */
export class AckSender {
  /** Number of the connection. A message is only acknowledged on the connection it came on. */
  connectionId = 0
  readonly #client: ReceivingClient
  readonly #keepAlive: KeepAlivePinger
  /** Socket with corked acknowledgements, and their number. */
  #corkedStream: Corkable | undefined
  #corkedCount = 0
  readonly #flush = (): void => this.flush()

  constructor(client: ReceivingClient, keepAlive: KeepAlivePinger) {
    this.#client = client
    this.#keepAlive = keepAlive
  }

  /** Acknowledges a message once, with a reason code (0 unless refused), and continues reading. */
  finish(message: ReceivedMessage, reasonCode: number): void {
    if (message.continueReading === undefined) return
    if (message.isContinuedBeforeAck) this.#send(message, reasonCode)
    else if (message.stage !== 'due') this.#continueReading(message, reasonCode)
    else if (reasonCode === 0) {
      if (message.qos > 0) this.#corkAck()
      this.#continueReading(message)
    } else {
      // Sent first, because the client may read the next message at once, and its acknowledgement must not come earlier.
      this.#send(message, reasonCode)
      this.continueBeforeAck(message)
    }
    message.continueReading = undefined
  }

  /** Returns true if a message can be acknowledged separately from the client. */
  canAcknowledgeSeparately({ qos, stage }: ReceivedMessage): boolean {
    return qos !== 2 || stage !== 'due' || canAckQoS2Separately(this.#client)
  }

  /** Makes the client read the next message before this one is acknowledged. */
  continueBeforeAck(message: ReceivedMessage): void {
    message.isContinuedBeforeAck = true
    this.#continueReading(message, NOT_ACKNOWLEDGED)
  }

  /** Writes the collected acknowledgements. */
  flush(): void {
    const corkedStream = this.#corkedStream
    this.#corkedStream = undefined
    corkedStream?.uncork?.()
  }

  #continueReading(message: ReceivedMessage, answer?: Error | number): void {
    if (message.connectionId === this.connectionId) this.#keepAlive.onClientContinued()
    message.continueReading?.(answer)
  }

  /**
   * Collects the acknowledgements of messages handled in one turn of the event loop. Writes up to {@link MAX_BATCHED_ACKS} with one
   * system call, where MQTT.js makes one for each. None waits longer than the turn.
   */
  #corkAck(): void {
    if (this.#corkedStream === undefined) {
      const stream = socketOf(this.#client)
      if (stream?.cork === undefined) return
      this.#corkedStream = stream
      this.#corkedCount = 1
      stream.cork()
      // Microtasks run when the tick queue is empty. MQTT.js has put all messages of one read into it.
      queueMicrotask(this.#flush)
    } else if (++this.#corkedCount > MAX_BATCHED_ACKS) {
      this.#corkedCount = 1
      this.#corkedStream.uncork?.()
      this.#corkedStream.cork?.()
    }
  }

  /** Acknowledges a message that the client did not, in the way the client would have. */
  #send({ packet, qos }: ReceivedMessage, reasonCode: number): void {
    const client = this.#client
    const { messageId } = packet
    if (qos === 0 || messageId === undefined) return
    if (qos === 2) {
      client.incomingStore.del(packet, ignore)
      releaseIncomingQoS2(client, messageId)
    }
    // Offline, the client would store it for another connection, where its id may belong to another message.
    if (!client.connected) return
    sendAck(client, qos === 2 ? { cmd: 'pubcomp', messageId } : { cmd: 'puback', messageId, reasonCode })
  }
}
