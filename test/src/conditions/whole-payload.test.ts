import { describe, expect, it } from 'vitest'
import { AedesMessage, RawPublishMessage } from '../../../brokers/aedes/message.ts'
import { compileCondition } from '../../../src/conditions/compile.ts'
import type { ValueTest } from '../../../src/conditions/condition.ts'
import { describeCondition } from '../../../src/conditions/describe.ts'
import type { Message } from '../../../src/core/message.ts'
import { CapturedMessage } from '../../../src/core/message-from-fields.ts'
import { PolicyError } from '../../../src/index.ts'
import { OutgoingMessage } from '../../../src/publish/outgoing-message.ts'

const SENDER = { client: 'c' }

/** The same payload as each kind of message brings it. */
const KINDS: Readonly<Record<string, (payload: string) => Message>> = {
  'aedes with a buffer': payload =>
    new AedesMessage('publish', SENDER, { topic: 'a', payload: Buffer.from(payload) }),
  'aedes with a text': payload => new AedesMessage('publish', SENDER, { topic: 'a', payload }),
  'bytes of a chunk': payload => {
    const chunk = Buffer.from(`before${payload}after`)
    return new RawPublishMessage(SENDER, 'a', chunk, 6, chunk.length - 5, 0)
  },
  'to be published': payload =>
    new OutgoingMessage({ protocol: 'nats', topic: 'a', sender: SENDER, body: Buffer.from(payload) }),
  captured: payload => new CapturedMessage({ topic: 'a', sender: SENDER, payload }, 'mqtt'),
}

const CASES: readonly (readonly [ValueTest, holds: readonly string[], not: readonly string[]])[] = [
  [{ equals: 'ON' }, ['ON', '"ON"'], ['on', 'ON ', '"on"', '', '["ON"]']],
  [{ in: ['ON', 'AUS ü'] }, ['ON', 'AUS ü', '"AUS ü"'], ['AUS', 'OFF']],
  [{ equals: '5' }, ['5', '"5"'], ['5.0', '05']],
  [{ equals: 5 }, ['5', '5.0', ' 5 '], ['"5"', '05', 'five']],
  [{ equals: true }, ['true'], ['"true"', 'TRUE', '1']],
  [{ equals: null }, ['null'], ['', '"null"']],
  [{ equals: '' }, ['', '""'], [' ']],
  [{ range: [1, 2] }, ['1', '1.5', '2'], ['"1"', '3', 'one', '[1]', '']],
  [{ exists: true }, ['x', '{}', ' '], ['']],
  [{ exists: false }, [''], ['x']],
]

describe.each(Object.keys(KINDS))('a whole payload, %s', kind => {
  it.each(CASES)('%j', (test, holds, not) => {
    const condition = compileCondition({ payload: test })
    const held = (payload: string): boolean => condition(KINDS[kind]!(payload), 0)
    expect(holds.filter(payload => !held(payload))).toEqual([])
    expect(not.filter(held)).toEqual([])
  })

  it('is compared as it was sent', () => {
    const text = 'ü ON\u0000'
    expect(Buffer.from(KINDS[kind]!(text).bytes!()!).toString()).toBe(text)
  })
})

describe('a condition on a whole payload', () => {
  it('does not read a payload whose size differs', () => {
    const condition = compileCondition({ payload: { equals: 'ON' } })
    let reads = 0
    const message: Message = {
      ...{ topic: 'a', on: 'publish', sender: SENDER, size: 3 },
      bytes: () => {
        reads++
        return Buffer.from('OFF')
      },
    }
    expect(condition(message, 0)).toBe(false)
    expect(reads).toBe(0)
  })

  it('never throws, whatever a message contains', () => {
    const condition = compileCondition({ payload: { equals: 'ON' } })
    const broken = [() => 'ON', () => null, () => ({ length: 2 }), () => JSON.parse('{')]
    for (const bytes of broken) {
      const message = { topic: 'a', on: 'publish', sender: SENDER, size: 2, bytes } as unknown as Message
      expect(condition(message, 0)).toBe(false)
    }
    expect(condition({ topic: 'a', on: 'publish', sender: SENDER, size: 2, payload: () => 'ON' }, 0)).toBe(
      true,
    )
  })

  it('is described without a field', () => {
    expect(describeCondition({ payload: { equals: 'ON' } })).toBe('payload = "ON"')
  })

  it('needs a value to compare with', () => {
    expect(() => compileCondition({ payload: {} })).toThrow(PolicyError)
    expect(() => compileCondition({ payload: { field: '', equals: 1 } })).toThrow(/"" is not a field path/)
  })
})
