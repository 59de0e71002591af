import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { OUTCOME_CASES } from './outcome-cases.ts'

const here = new URL('./', import.meta.url)
const brokers = new URL('../../../brokers/', import.meta.url)

describe('every broker', () => {
  const files = readdirSync(here).filter(path => path.endsWith('.test.ts') && path !== 'every-broker.test.ts')
  const folders = readdirSync(brokers, { withFileTypes: true }).filter(entry => entry.isDirectory())
  const table = readFileSync(new URL('../../../docs/outcomes.md', import.meta.url), 'utf8')

  it('runs the suite', () => {
    const running = files.map(path => path.replace(/\.test\.ts$/, ''))
    expect(running.toSorted()).toEqual(folders.map(({ name }) => name).toSorted())
  })

  it.each(files)('%s skips nothing, and each of its drivers has a table', file => {
    const text = readFileSync(new URL(file, here), 'utf8')
    expect(text).not.toMatch(/\.(skip|skipIf|runIf|todo|only|fails)\b/)
    const names = [...text.matchAll(/^brokerConformance\('([^']+)'/gm)].map(([, name]) => name)
    expect(names.length).toBeGreaterThan(0)
    for (const name of names) expect(table).toContain(`<!-- seen: ${name} -->`)
  })

  it('has tables without an empty cell', () => {
    const blocks = [...table.matchAll(/<!-- seen: (.+) -->[\s\S]*?<!-- end: \1 -->/g)].map(([block]) => block)
    expect(blocks).toHaveLength(11)
    const rows = blocks
      .join('\n')
      .split('\n')
      .filter(line => /^\| (`\w+`|a function) \|.*\|$/.test(line))
    const complete = rows.filter(line => /delivered|refused when attached/.test(line))
    expect(complete).toHaveLength(blocks.length * OUTCOME_CASES.length)
    expect(blocks.join('\n')).not.toContain('not seen')
  })

  it('is tested with every outcome of a rule', () => {
    expect(OUTCOME_CASES.map(({ outcome }) => outcome)).toEqual([
      ...['throttle', 'queue', 'latest', 'degrade', 'redirect', 'retry', 'drop', 'reject', 'disconnect'],
      'a function',
    ])
  })
})
