import { createSender } from '../chain/senders/sender-state.ts'
import type { Clock } from '../core/clock.ts'
import type { Sender } from '../core/message.ts'
import type { Gate } from '../gate/gate.ts'
import { completeOptions, type PublisherOptions, type PublishRate, resolveGate } from './options.ts'
import { Publisher } from './publisher.ts'
import type { PublisherStats, PublishTransport } from './types.ts'

/** Methods of every broker's publisher other than `publish`. */
export interface PublisherControls {
  /**
   * Resolves with true when all messages were sent or dropped, or with false after `withinMs`. To shut down, call
   * `flush`, then `close`.
   */
  flush(withinMs?: number): Promise<boolean>
  /**
   * Drops waiting messages and detaches the publisher from its client, which stays open. Messages handed to the client
   * are settled by their acknowledgement, or fail if the client is not connected.
   */
  close(): void
  [Symbol.asyncDispose](): Promise<void>
  stats(): PublisherStats
}

/** Publisher and the parts that brokers need. */
export interface CreatedPublisher<C> {
  readonly publisher: Publisher<C>
  readonly gate: Gate
  readonly clock: Clock
  readonly sender: Sender
  /** Closes the publisher, and its gate if it owns it. */
  close(): void
}

/** Creates a publisher for a client. Throws PolicyError or UnsupportedError for invalid options. */
export function createPublisher<C>(
  limits: Gate | PublishRate,
  protocol: 'mqtt' | 'nats',
  options: PublisherOptions,
  sender: Sender,
  transport: PublishTransport<C>,
): CreatedPublisher<C> {
  const settings = completeOptions(options)
  const { gate, isOwned } = resolveGate(limits, protocol, options.clock)
  const clock = options.clock ?? gate.clock
  const publisher = new Publisher(gate, transport, clock, options.logger ?? gate.logger, settings)
  return {
    publisher,
    gate,
    clock,
    sender: createSender(options.sender ?? sender),
    close: () => {
      publisher.close()
      if (isOwned) void gate.close()
    },
  }
}
