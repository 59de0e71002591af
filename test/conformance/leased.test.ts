import { LeasedStore } from '../../src/stores/leased/leased-store.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import { storeConformance } from './store-suite.ts'

// With one unit per lease every number is that of the shared store. Tests of leases: test/src/stores/leased/.
storeConformance('leased', clock => new LeasedStore({ store: new MemoryStore({ clock }), units: 1, clock }))
