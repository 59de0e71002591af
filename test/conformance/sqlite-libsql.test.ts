import { openSqlite } from '../../src/stores/sqlite/index.ts'
import { only } from '../src/stores/sqlite/drivers.ts'
import { storeConformance } from './store-suite.ts'

storeConformance('sqlite on libsql', clock => openSqlite(':memory:', { clock, load: only('libsql') }))
