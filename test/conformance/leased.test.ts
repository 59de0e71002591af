import { LeasedStore } from '../../src/stores/leased/leased-store.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import { storeConformance } from './store-suite.ts'

// A unit at a time is no lease: every number is that of the shared store. Leases themselves: test/src/stores/leased/.
storeConformance('leased', clock => new LeasedStore({ store: new MemoryStore({ clock }), units: 1, clock }))
