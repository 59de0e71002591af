import { MemoryStore } from '../../../../src/stores/memory/memory-store.ts'
import { ResilientStore } from '../../../../src/stores/resilient/resilient-store.ts'
import { storeConformance } from '../../../conformance/store-suite.ts'

// While the store behind it works, it behaves exactly like that store.
storeConformance('resilient', clock => new ResilientStore({ store: new MemoryStore({ clock }), clock }))
