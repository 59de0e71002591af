import { readdirSync, readFileSync } from 'node:fs'
import { expect, it } from 'vitest'

const here = new URL('./', import.meta.url)
const stores = new URL('../../src/stores/', import.meta.url)

/** Stores that stand before another and are not exact by design; each has tests of its own bounds. */
const NOT_EXACT = ['leased', 'resilient']

it('every store there is runs the suite', () => {
  const sources = readdirSync(stores, { recursive: true, encoding: 'utf8' })
    .filter(path => path.endsWith('.ts'))
    .filter(path =>
      /\bclass \w+ implements (\w+, )*Store\b/.test(readFileSync(new URL(path, stores), 'utf8')),
    )
    .map(path => path.replace(/(\/index|\/store)?\.ts$/, ''))
    .filter(name => !NOT_EXACT.includes(name))
  const running = readdirSync(here)
    .filter(path => path.endsWith('.test.ts'))
    .filter(path => /^storeConformance\(/m.test(readFileSync(new URL(path, here), 'utf8')))
    .map(path => path.replace(/\.test\.ts$/, ''))
  expect(sources.length).toBeGreaterThan(0)
  expect(running.sort()).toEqual(sources.sort())
})
