import { describe, expect, it } from 'vitest'
import { historiesOf, SEEDS, seedsOf } from './agree.ts'
import { describe as inWords } from './history.ts'
import { brokenLaw, isSteady } from './laws.ts'

describe('laws of a decision, in every pair of features', () => {
  it.each(seedsOf(1, SEEDS / 5))(
    'a refusal charges nobody, its wait is enough and no less is, and a peek is pure, seed %i',
    { timeout: 600_000 },
    async seed => {
      for (const history of historiesOf(seed).filter(isSteady)) {
        expect(await brokenLaw(history), inWords(history)).toBeUndefined()
      }
    },
  )
})
