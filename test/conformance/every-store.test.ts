import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'

const here = new URL('./', import.meta.url)
const stores = new URL('../../src/stores/', import.meta.url)

/** Wrappers that count nothing themselves; they have tests of their own. */
const WRAPPERS = ['resilient']

/** Stores that use only their server's time cannot be driven through histories; test/src/stores tests them. */
const SERVER_TIME_ONLY = ['nats-stream']

/** Ways to run a store that may fail differently; any other store runs once under its own name. */
const WAYS: Readonly<Record<string, readonly string[]>> = {
  sqlite: ['sqlite', 'sqlite-libsql'],
  redis: ['redis', 'redis-cluster'],
}

/** Returns the calls of the suite with the names of the runs; none for a file that skips tests. */
function countCalls(text: string): number {
  if (/\b(it|test|describe)(\.\w+)*\.(skip|skipIf|runIf|todo|only|fails)\b/.test(text)) return 0
  return text.match(/^\s*storeConformance\(/gm)?.length ?? 0
}

describe('every store', () => {
  const files = readdirSync(here).filter(path => path.endsWith('.test.ts'))
  const running = files
    .filter(path => countCalls(readFileSync(new URL(path, here), 'utf8')) > 0)
    .map(path => path.replace(/\.test\.ts$/, ''))
  const known = readdirSync(stores, { recursive: true, encoding: 'utf8' })
    .filter(path => path.endsWith('.ts'))
    .filter(path =>
      /\bclass \w+ implements (\w+, )*Store\b/.test(readFileSync(new URL(path, stores), 'utf8')),
    )
    .map(path => path.replace(/(\/index|\/store)?\.ts$/, '').replace(/^([\w-]+)\/\1-store$/, '$1'))
    .filter(name => ![...WRAPPERS, ...SERVER_TIME_ONLY].includes(name))

  it('includes the memory store', () => {
    expect(known).toContain('memory')
  })

  it.each(known.flatMap(store => WAYS[store] ?? [store]))('%s runs the whole suite', way => {
    expect(running).toContain(way)
  })

  it('no suite runs on an unknown store', () => {
    const ways = known.flatMap(store => WAYS[store] ?? [store])
    const unknown = running.filter(name => !ways.includes(name))
    expect(unknown).toEqual([])
  })

  it('a suite that skips tests would be noticed', () => {
    expect(countCalls("storeConformance('memory', open)\n")).toBe(1)
    expect(countCalls("describe.skip('x', () => {\n  storeConformance('memory', open)\n})")).toBe(0)
    expect(countCalls("// storeConformance('memory', open)\n")).toBe(0)
  })
})
