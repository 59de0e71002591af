import { openSqlite } from '../../src/stores/sqlite/index.ts'
import { MAIN_DRIVER, only } from '../src/stores/sqlite/drivers.ts'
import { storeConformance } from './store-suite.ts'

storeConformance('sqlite', clock => openSqlite(':memory:', { clock, load: only(MAIN_DRIVER) }))
