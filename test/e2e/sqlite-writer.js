// Asks a SQLite store as fast as it answers. Arguments: file, package, units of the limit, decisions, in flight.
// Prints a dot for each unit that was acknowledged, and a line with how many there were at the end.
import { writeSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createLimit } from '../../dist/src/index.js'
import { openSqlite } from '../../dist/src/stores/sqlite/index.js'

const [path, wanted, units, decisions, inFlight] = process.argv.slice(2)
const require = createRequire(import.meta.url)
const cache = '../../node_modules/.cache/topicgate/better-sqlite3/node_modules/'

const store = await openSqlite(path, {
  lockWaitMs: 30_000,
  load: name => {
    if (name !== wanted) throw Object.assign(new Error(name), { code: 'ERR_MODULE_NOT_FOUND' })
    return { default: require(name === 'libsql' ? name : cache + name) }
  },
})
// A window that does not end while a test runs.
const limit = createLimit({
  name: 'units',
  algorithm: 'fixed-window',
  count: Number(units),
  periodMs: 3_600_000_000_000,
})
let left = Number(decisions)
let allowed = 0

async function askInTurn() {
  while (left-- > 0) {
    const [verdict] = await store.decide([{ limit, key: '', cost: 1 }], { commit: true })
    if (!verdict.allowed) continue
    allowed++
    writeSync(1, '.')
  }
}

// Timers of a store keep no process alive; a broker's sockets do.
const alive = setInterval(() => {}, 1_000)
await Promise.all(Array.from({ length: Number(inFlight) }, askInTurn))
writeSync(1, `\nallowed ${allowed}\n`)
await store.close()
clearInterval(alive)
