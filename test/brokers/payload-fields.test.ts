import { describe, expect, it, vi } from 'vitest'
import { AedesMessage, RawPublishMessage } from '../../brokers/aedes/message.ts'
import { ReceivedMessage as MqttMessage } from '../../brokers/mqtt/message.ts'
import { type DeliveryProcessor, ReceivedMessage as NatsMessage } from '../../brokers/nats/message.ts'
import { readPayloadField } from '../../src/conditions/payload-field.ts'
import { PASSED } from '../../src/core/decision.ts'
import { completeMessage, type Message } from '../../src/core/message.ts'
import { Gate } from '../../src/index.ts'
import { OutgoingMessage } from '../../src/publish/outgoing-message.ts'

const PROCESSOR: DeliveryProcessor = {
  limiter: { gate: {}, settings: { legacyFields: false } },
  enact: () => {},
  askAgain: () => PASSED,
  handleWaiting: () => false,
  abandon: () => {},
}

/** Messages of all adapters with a payload. */
const MESSAGES: readonly (readonly [name: string, create: (payload: Buffer) => Message])[] = [
  ['aedes', payload => new AedesMessage('publish', {}, { topic: 'a', payload })],
  [
    'a raw publish of aedes',
    payload => {
      const chunk = Buffer.concat([Buffer.from('{"b":0}'), payload, Buffer.from('}')])
      return new RawPublishMessage({}, 'a', chunk, 7, 7 + payload.length, 0)
    },
  ],
  [
    'an MQTT consumer',
    payload => new MqttMessage(new Gate(), {}, 'a', { topic: 'a', payload }, 1, () => {}, 'due'),
  ],
  ['a NATS consumer', data => new NatsMessage('a', {}, PROCESSOR, { subject: 'a', sid: 1, data })],
  ['a publisher', body => new OutgoingMessage({ protocol: 'mqtt', topic: 'a', sender: {}, body })],
  [
    'code, without a sender',
    payload => completeMessage(new AedesMessage('publish', {}, { topic: 'a', payload }), {}),
  ],
]

describe.each(MESSAGES)('the payload of %s', (_name, create) => {
  it('has the fields of its JSON, however often and in whatever order they are read', () => {
    const message = create(Buffer.from('{"a":{"b":[1,"two"]},"c":true}'))
    for (let times = 0; times < 2; times++) {
      expect(readPayloadField(message, ['a', 'b', 1])).toBe('two')
      expect(readPayloadField(message, ['c'])).toBe(true)
      expect(readPayloadField(message, ['none'])).toBeUndefined()
      expect(message.payload?.()).toEqual({ a: { b: [1, 'two'] }, c: true })
    }
  })

  it('is parsed once for all its fields', () => {
    const text = '{"a":1,"b":2,"c":3}'
    const message = create(Buffer.from(text))
    const parse = vi.spyOn(JSON, 'parse')
    try {
      for (const name of ['a', 'b', 'c', 'a']) readPayloadField(message, [name])
      message.payload?.()
      expect(parse.mock.calls.filter(([parsed]) => parsed === text)).toHaveLength(1)
    } finally {
      parse.mockRestore()
    }
  })

  it('has no field if it is not JSON', () => {
    for (const text of ['', 'ON', '{"a":1', '{"a":1}}']) {
      const message = create(Buffer.from(text))
      expect(readPayloadField(message, ['a'])).toBeUndefined()
      expect(message.payload?.()).toBeUndefined()
    }
  })
})
