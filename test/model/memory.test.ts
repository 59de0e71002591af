import { describe } from 'vitest'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import { agree, SEEDS, seedsOf } from './agree.ts'

describe('every pair of features on the memory store', () => {
  agree('memory', clock => new MemoryStore({ clock }), seedsOf(20, SEEDS))
})
