import { describe } from 'vitest'
import { openSqlite } from '../../src/stores/sqlite/index.ts'
import { agree, SEEDS, seedsOf } from './agree.ts'

describe('every pair of features on the SQLite store', () => {
  agree('sqlite', clock => openSqlite(':memory:', { clock }), seedsOf(2, SEEDS))
})
