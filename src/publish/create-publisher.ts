import { createSender } from '../chain/senders/sender-state.ts'
import type { Clock } from '../core/clock.ts'
import type { Sender } from '../core/message.ts'
import type { Gate } from '../gate/gate.ts'
import { completePublisher, gateOf, type PublisherOptions, type PublishRate } from './options.ts'
import { Publisher } from './publisher.ts'
import type { PublisherStats, Transport } from './types.ts'

/** What the publishers of all brokers offer, whatever their `publish` takes. */
export interface PublishLimits {
  /**
   * Resolves with true when all has been sent or dropped, with false after `withinMs`. For a shutdown: `flush`,
   * then `close`.
   */
  flush(withinMs?: number): Promise<boolean>
  /**
   * Drops what still waits and takes the publisher off its client, which stays open. What the client has been given is
   * settled by its acknowledgement, or as failed when the client is not connected.
   */
  close(): void
  [Symbol.asyncDispose](): Promise<void>
  stats(): PublisherStats
}

/** A publisher's parts, made of what a user gives. Throws PolicyError or UnsupportedError. */
export interface Parts<C> {
  readonly publisher: Publisher<C>
  readonly gate: Gate
  readonly clock: Clock
  readonly sender: Sender
  /** Closes the publisher, and the gate where it is its own. */
  close(): void
}

/** Puts a publisher together over a client. Throws PolicyError or UnsupportedError for what cannot be meant. */
export function assemble<C>(
  limits: Gate | PublishRate,
  protocol: 'mqtt' | 'nats',
  options: PublisherOptions,
  sender: Sender,
  transport: Transport<C>,
): Parts<C> {
  const settings = completePublisher(options)
  const { gate, own } = gateOf(limits, protocol, options.clock)
  const clock = options.clock ?? gate.clock
  const publisher = new Publisher(gate, transport, clock, options.logger ?? gate.logger, settings)
  return {
    publisher,
    gate,
    clock,
    sender: createSender(options.sender ?? sender),
    close: () => {
      publisher.close()
      if (own) void gate.close()
    },
  }
}
