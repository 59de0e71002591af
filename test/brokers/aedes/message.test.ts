import { describe, expect, it } from 'vitest'
import { AedesMessage } from '../../../brokers/aedes/message.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'

const sender = Object.freeze({ client: 'c' })
function publish(payload: string | Buffer | undefined): AedesMessage {
  return new AedesMessage('publish', sender, { topic: 't', payload, qos: 1, retain: true })
}

describe('a message of aedes', () => {
  it('has the fields that the gate reads', () => {
    const message = publish(Buffer.from('{"priority":"low"}'))
    expect(message).toMatchObject({ topic: 't', on: 'publish', sender, size: 18, qos: 1, retain: true })
    expect(message.protocol).toBe('mqtt')
    expect(message.payload()).toEqual({ priority: 'low' })
  })
  it('parses its payload once', () => {
    const message = publish('{"a":1}')
    expect(message.payload()).toBe(message.payload())
  })
  it('counts bytes, not characters', () => {
    expect(publish('ä€').size).toBe(5)
    expect(publish(undefined).size).toBe(0)
  })
  it('has no payload if that is not JSON, is hostile or exceeds the bound', () => {
    expect(publish(Buffer.from([0xff, 0xfe])).payload()).toBeUndefined()
    expect(publish('').payload()).toBeUndefined()
    expect(publish('[['.repeat(100_000)).payload()).toBeUndefined()
    const largest = `"${'x'.repeat(MAX_SIZES.parsedPayloadBytes - 2)}"`
    expect(publish(largest).payload()).toHaveLength(MAX_SIZES.parsedPayloadBytes - 2)
    expect(publish(`${largest} `).payload()).toBeUndefined()
  })
  it('does not let a payload change a prototype', () => {
    const payload = publish('{"__proto__":{"polluted":true}}').payload()
    expect(Object.hasOwn(payload as object, '__proto__')).toBe(true)
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined()
  })
})
