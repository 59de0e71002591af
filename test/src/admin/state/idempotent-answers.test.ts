import { expect, it } from 'vitest'
import { IdempotentAnswers } from '../../../../src/admin/state/idempotent-answers.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { FakeClock } from '../../../support/fake-clock.ts'

it('keeps small answers for ten minutes, and no large ones', async () => {
  const clock = new FakeClock()
  const answers = new IdempotentAnswers(clock)
  let calls = 0
  const ask = async (key: string, text: string): Promise<number> => {
    await answers.answerOnce(key, {}, async () => ({ body: { text, calls: ++calls } }))
    return calls
  }
  expect([await ask('small', 'x'), await ask('small', 'x')]).toEqual([1, 1])
  clock.advance(600_000)
  expect(await ask('small', 'x')).toBe(2)
  const large = 'x'.repeat(MAX_SIZES.adminIdempotentAnswerChars)
  expect([await ask('large', large), await ask('large', large)]).toEqual([3, 4])
})
