import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import { CELLS, SENT, type Seen } from './broker-cells.ts'
import type { Told } from './broker-suite.ts'

const PAGE = join(import.meta.dirname, '../../docs/outcomes.md')

/** Result of a cell as text. */
export function describeCell({ whole, degraded, elsewhere }: Seen, told: Told): string {
  const got = [
    whole.length > 0 ? `${whole.length} delivered` : '',
    degraded.length > 0 ? `${degraded.length} degraded` : '',
    elsewhere.length > 0 ? `${elsewhere.length} redirected` : '',
  ]
  const answers = Object.entries(told).map(([word, times]) => `${times} ${word}`)
  const answer = answers.length > 0 ? answers.join(', ') : 'no answer'
  return `${got.filter(text => text !== '').join(', ')}; ${answer}`
}

/**
 * Compares the table of a broker in docs/outcomes.md with the results; with TOPICGATE_OUTCOMES=write it writes the
 * table. The table is between two comments that name the broker; a new broker's table is appended to the page.
 */
export function checkTable(name: string, ways: readonly string[], seen: ReadonlyMap<string, string>): void {
  const rows = CELLS.map(({ outcome }) => [
    outcome === 'a function' ? outcome : `\`${outcome}\``,
    ...ways.map(way => seen.get(`${outcome}\n${way}`) ?? 'not seen'),
  ])
  const table = [
    `### ${name}`,
    '',
    `| ${SENT} sent | ${ways.join(' | ')} |`,
    `|---|${'---|'.repeat(ways.length)}`,
    ...rows.map(row => `| ${row.join(' | ')} |`),
  ].join('\n')
  const [begin, end] = [`<!-- seen: ${name} -->`, `<!-- end: ${name} -->`]
  const page = readFileSync(PAGE, 'utf8')
  const from = page.indexOf(begin)
  const to = page.indexOf(end)
  const block = `${begin}\n${table}\n${end}`
  if (process.env.TOPICGATE_OUTCOMES === 'write') {
    const written =
      from < 0 ? `${page.trimEnd()}\n\n${block}\n` : page.slice(0, from) + block + page.slice(to + end.length)
    writeFileSync(PAGE, written)
    return
  }
  expect(page.slice(from, to + end.length), 'npm run outcomes writes it anew').toBe(block)
}
