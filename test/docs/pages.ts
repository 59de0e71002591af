import { listFiles, readText } from '../structure/project.ts'

/** A fenced block of a page. The words behind the language say how it is tried: see the tests of this folder. */
export interface Block {
  readonly page: string
  /** Of its first line, from 1. */
  readonly line: number
  readonly language: string
  readonly words: readonly string[]
  readonly text: string
}

/** Pages people read; benchmarks.md is generated. */
export const PAGES = [
  ...['README.md', 'ARCHITECTURE.md', 'CHANGELOG.md', 'CONTRIBUTING.md'],
  ...listFiles('docs', '.md').filter(path => path !== 'docs/benchmarks.md'),
]

/** All blocks of a page, in order. */
export function blocksOf(page: string): readonly Block[] {
  const blocks: Block[] = []
  for (const match of readText(page).matchAll(/^```([^\n]*)\n([\s\S]*?)^```$/gm)) {
    const [language = '', ...words] = match[1]!.trim().split(/\s+/)
    const line = readText(page).slice(0, match.index).split('\n').length + 1
    blocks.push({ page, line, language, words, text: match[2]! })
  }
  return blocks
}

export const BLOCKS: readonly Block[] = PAGES.flatMap(blocksOf)

export function placeOf({ page, line }: Block): string {
  return `${page}:${line}`
}
