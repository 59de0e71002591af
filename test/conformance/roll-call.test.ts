import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

const here = new URL('./', import.meta.url)
const stores = new URL('../../src/stores/', import.meta.url)

/** A store that stands before another and counts nothing itself has tests of its own. */
const COUNTS_NOTHING = ['resilient']

/** A store that goes by the time of its server alone cannot be led through histories: test/src/stores holds it to account. */
const TELLS_TIME_ITSELF = ['nats-kv/stream-store']

/** The ways to run a store that differ in what may go wrong; any other store has its own name alone. */
const WAYS: Readonly<Record<string, readonly string[]>> = {
  sqlite: ['sqlite', 'sqlite-libsql'],
  redis: ['redis', 'redis-cluster'],
}

/** Calls of the suite, with the name a run goes by; of a page that leaves tests out, none. */
function callsIn(text: string): number {
  if (/\b(it|test|describe)(\.\w+)*\.(skip|skipIf|runIf|todo|only|fails)\b/.test(text)) return 0
  return text.match(/^\s*storeConformance\(/gm)?.length ?? 0
}

describe('the roll call', () => {
  const files = readdirSync(here).filter(path => path.endsWith('.test.ts'))
  const running = files
    .filter(path => callsIn(readFileSync(new URL(path, here), 'utf8')) > 0)
    .map(path => path.replace(/\.test\.ts$/, ''))
  const known = readdirSync(stores, { recursive: true, encoding: 'utf8' })
    .filter(path => path.endsWith('.ts'))
    .filter(path =>
      /\bclass \w+ implements (\w+, )*Store\b/.test(readFileSync(new URL(path, stores), 'utf8')),
    )
    .map(path => path.replace(/(\/index|\/store)?\.ts$/, '').replace(/^([\w-]+)\/\1-store$/, '$1'))
    .filter(name => ![...COUNTS_NOTHING, ...TELLS_TIME_ITSELF].includes(name))

  it('finds the memory store among those there are', () => {
    expect(known).toContain('memory')
  })

  it.each(known.flatMap(store => WAYS[store] ?? [store]))('%s runs the whole suite', way => {
    expect(running).toContain(way)
  })

  it('no suite runs on a store that is not there', () => {
    const ways = known.flatMap(store => WAYS[store] ?? [store])
    const strange = running.filter(name => !ways.includes(name))
    expect(strange).toEqual([])
  })

  it('would notice a suite that leaves tests out', () => {
    expect(callsIn("storeConformance('memory', open)\n")).toBe(1)
    expect(callsIn("describe.skip('x', () => {\n  storeConformance('memory', open)\n})")).toBe(0)
    expect(callsIn("// storeConformance('memory', open)\n")).toBe(0)
  })
})
