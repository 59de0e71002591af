import { describe, expect, it } from 'vitest'
import { HandlerBacklog } from '../../../brokers/nats/handler-backlog.ts'
import { type DeliveryProcessor, ReceivedMessage } from '../../../brokers/nats/message.ts'
import { completeSettings } from '../../../brokers/nats/options.ts'
import { PASSED } from '../../../src/core/decision.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { createSender } from '../../../src/index.ts'
import { numbers } from './scene.ts'

/** Processor that enacts nothing. */
const PROCESSOR: DeliveryProcessor = {
  limiter: { gate: {}, settings: { legacyFields: false } },
  enact: () => {},
  askAgain: () => PASSED,
  handleWaiting: () => false,
  abandon: () => {},
}

function createMessage(text: string): ReceivedMessage {
  const source = { subject: 'a', sid: 1, data: Buffer.from(text) }
  return new ReceivedMessage('a', createSender({}), PROCESSOR, source)
}

describe('a handler queue', () => {
  it('returns messages in order, without those that were abandoned', () => {
    const queue = new HandlerBacklog()
    const all = numbers(5).map(createMessage)
    for (const each of all) expect(queue.add(each)).toBe(true)
    all[1]!.isSettled = true
    all[2]!.isSettled = true
    const shifted = [queue.shift(), queue.shift(), queue.shift(), queue.shift()]
    expect(shifted).toEqual([all[0], all[3], all[4], undefined])
  })

  it('is bounded by the bytes of payloads', () => {
    const queue = new HandlerBacklog()
    const half = 'x'.repeat(MAX_SIZES.waitingForHandlerBytes / 2)
    const added = [half, half, 'x'].map(text => queue.add(createMessage(text)))
    expect(added).toEqual([true, true, false])
    queue.shift()
    expect(queue.add(createMessage('x'))).toBe(true)
  })

  it('counts messages that wait elsewhere for a handler of their key', () => {
    const queue = new HandlerBacklog()
    const message = createMessage('x')
    expect(queue.reserve(message)).toBe(true)
    expect(queue.count).toBe(1)
    queue.release(message)
    expect(queue.count).toBe(0)
  })
})

it('10,000 handlers of a subscription run at once by default', () => {
  expect(completeSettings({}).maxInFlight).toBe(MAX_SIZES.handlersInFlight)
})
