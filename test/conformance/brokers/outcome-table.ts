import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect } from 'vitest'
import type { SenderAnswers } from './broker-suite.ts'
import { MESSAGE_COUNT, OUTCOME_CASES, type Received } from './outcome-cases.ts'

const PAGE = join(import.meta.dirname, '../../../docs/outcomes.md')

/** Returns the text of a table cell: received messages and answers to the sender. */
export function describeCell({ whole, degraded, redirected }: Received, answers: SenderAnswers): string {
  const got = [
    whole.length > 0 ? `${whole.length} delivered` : '',
    degraded.length > 0 ? `${degraded.length} degraded` : '',
    redirected.length > 0 ? `${redirected.length} redirected` : '',
  ]
  const answerTexts = Object.entries(answers).map(([word, times]) => `${times} ${word}`)
  const answer = answerTexts.length > 0 ? answerTexts.join(', ') : 'no answer'
  return `${got.filter(text => text !== '').join(', ')}; ${answer}`
}

/**
 * Compares the table of a broker in docs/outcomes.md with the results; with TOPICGATE_OUTCOMES=write it writes the
 * table. The table is between two comments that name the broker; a new broker's table is appended to the page.
 */
export function checkTable(
  name: string,
  modes: readonly string[],
  results: ReadonlyMap<string, string>,
): void {
  const rows = OUTCOME_CASES.map(({ outcome }) => [
    outcome === 'a function' ? outcome : `\`${outcome}\``,
    ...modes.map(mode => results.get(`${outcome}\n${mode}`) ?? 'not seen'),
  ])
  const table = [
    `### ${name}`,
    '',
    `| ${MESSAGE_COUNT} sent | ${modes.join(' | ')} |`,
    `|---|${'---|'.repeat(modes.length)}`,
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
