import { describe } from 'vitest'
import { openSqlite } from '../../src/stores/sqlite/index.ts'
import { usualOrLong } from '../support/long-run.ts'
import { agree, SEEDS, seedsUpTo } from './agree.ts'

describe('every pair of features on the SQLite store', () => {
  agree('sqlite', clock => openSqlite(':memory:', { clock }), seedsUpTo(usualOrLong(6, SEEDS)))
})
