import { expect, it } from 'vitest'
import { IS_LONG_RUN } from '../support/long-run.ts'
import { random } from '../support/random.ts'
import { FEATURES, rollHistory } from './generator.ts'
import { groupsOf } from './groups.ts'
import { compare, type History, type OpenStore } from './history.ts'
import { print, shrink } from './shrink.ts'

/** Seeds for each pair of features in `npm test` and `npm run test:long` together. */
export const SEEDS = Number(process.env.TOPICGATE_MODEL_SEEDS ?? 500)

/** Features of one history: six pairs at once, which is four times as quick as one. */
const GROUP = 4
export const NAMES: readonly string[] = Object.keys(FEATURES)

/** Histories in which every pair of features is together once; others for each seed. */
export function historiesOf(seed: number, names = NAMES): readonly History[] {
  const chance = random(seed)
  return groupsOf(names, GROUP, chance).map(group => rollHistory(group, chance))
}

/** Asserts that a store and the model agree on every decision, in every pair of features, for each of the seeds. */
export function agree(name: string, open: OpenStore, seeds: readonly number[], names = NAMES): void {
  it.each(seeds)(`${name} decides as the model, seed %i`, { timeout: 600_000 }, async seed => {
    for (const history of historiesOf(seed, names)) {
      const found = await compare(history, open)
      if (found === undefined) continue
      const small = await shrink(history, found, smaller => compare(smaller, open))
      expect.fail(print(small.history, small.found, name))
    }
  })
}

/** Returns the first seeds, as many as `npm test` uses; in `npm run test:long` the further ones up to `all`, at least one. */
export function seedsOf(usual: number, all: number): readonly number[] {
  if (!IS_LONG_RUN) return Array.from({ length: usual }, (_, seed) => seed)
  return Array.from({ length: Math.max(1, Math.round(all) - usual) }, (_, index) => usual + index)
}
