import { expect, it } from 'vitest'
import {
  assertSupported,
  describeUnsupported,
  describeUnsupportedResourceLimits,
  warnUnsupportedOnReload,
} from '../../../src/broker-support/unsupported-outcomes.ts'
import { UnsupportedError } from '../../../src/core/errors.ts'
import { Gate } from '../../../src/gate/gate.ts'

it('an unsupported outcome is described with its rules and the remedy', () => {
  expect(describeUnsupported('aedes', '"retry" on publish', ['a', 'b'], 'use throttle')).toBe(
    'aedes cannot enact "retry" on publish, which "a", "b" asks for: use throttle',
  )
})

it('a limit of connections is described for an adapter that cannot count them', async () => {
  await using gate = await Gate.fromPolicy({
    version: 1,
    rules: [{ name: 'open', connections: 5, per: 'ip' }],
  })
  expect(describeUnsupportedResourceLimits(gate, 'NATS')).toEqual([
    'NATS cannot count connections, which "open" limits (a broker can: use topicgate/aedes)',
  ])
})

it('problems are thrown together as one error', () => {
  expect(() => assertSupported([])).not.toThrow()
  expect(() => assertSupported(['one', 'two'])).toThrow(new UnsupportedError('one\ntwo'))
})

it('problems of a policy applied later are logged until the warning is stopped', async () => {
  await using gate = await Gate.fromPolicy({ version: 1, rules: [] })
  const lines: string[] = []
  const logger = {
    debug() {},
    info() {},
    warn: (_context: object, text = '') => void lines.push(text),
    error() {},
  }
  const stop = warnUnsupportedOnReload(gate, logger, () => ['one', 'two'])
  await gate.apply({ version: 1, rules: [] })
  expect(lines).toEqual(['one', 'two'])
  stop()
  await gate.apply({ version: 1, rules: [] })
  expect(lines).toHaveLength(2)
})
