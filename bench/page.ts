import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { describeMachine } from './harness.ts'

const HEAD = `# Benchmarks

Written by \`npm run bench -- --write docs/benchmarks.md\`, never by hand: alternating runs, each in a separate process, as ratios
within one run.
`

/**
 * Puts a section into the page at its place: that of the section of the same title, else behind those of the parts
 * before it. Written after each part, so a long run that is ended keeps what it has found.
 */
export function writeSection(file: string, text: string, order: readonly string[], rounds: number): void {
  const sections = existsSync(file) ? sectionsOf(readFileSync(file, 'utf8')) : new Map<string, string>()
  const note = `${rounds === 1 ? 'A single round' : `Medians of ${rounds} rounds`}, ${describeMachine()}, ${new Date().toISOString().slice(0, 10)}.`
  sections.set(titleOf(text), `${text.trimEnd()}\n\n*${note}*\n`)
  const placed = [...sections].sort(([a], [b]) => order.indexOf(a) - order.indexOf(b))
  writeFileSync(file, [HEAD, ...placed.map(([, section]) => section)].join('\n'))
}

/** The sections of a page by their titles. */
function sectionsOf(page: string): Map<string, string> {
  const sections = page.split(/^(?=## )/m).slice(1)
  return new Map(sections.map(section => [titleOf(section), `${section.trimEnd()}\n`]))
}

function titleOf(section: string): string {
  return /^## (.*)$/m.exec(section)?.[1] ?? ''
}
