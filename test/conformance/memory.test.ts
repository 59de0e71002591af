import { MemoryStore } from '../../src/stores/memory.ts'
import { storeConformance } from './store-suite.ts'

storeConformance('memory', clock => new MemoryStore({ clock }))
