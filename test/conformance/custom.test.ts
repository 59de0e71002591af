import type { CustomAlgorithm } from '../../src/algorithms/custom.ts'
import type { Clock } from '../../src/clock.ts'
import type { MaybePromise } from '../../src/message.ts'
import { MemoryStore } from '../../src/stores/memory.ts'
import type { Store } from '../../src/stores/store.ts'
import { algorithmConformance } from './algorithm-suite.ts'

/** Every store a custom algorithm must answer the same on. */
const stores: Readonly<Record<string, (clock: Clock) => MaybePromise<Store>>> = {
  memory: clock => new MemoryStore({ clock }),
}

const example = new URL('../../examples/two-speeds.js', import.meta.url).href
const { twoSpeeds } = (await import(/* @vite-ignore */ example)) as { twoSpeeds: CustomAlgorithm }

algorithmConformance(twoSpeeds, { stores, mostPerPeriod: ({ capacity, count }) => capacity + count })
