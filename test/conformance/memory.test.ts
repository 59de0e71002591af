import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import { storeConformance } from './store-suite.ts'

storeConformance('memory', clock => new MemoryStore({ clock }))
