import { describe, expect, it } from 'vitest'
import { MAX_SIZES } from '../../src/core/max-sizes.ts'
import { listFiles, listSources, listTypeScript, readText, stripComments } from './project.ts'

const sources = listSources()
const typescript = ['src', 'brokers', 'test', 'bench', 'examples'].flatMap(listTypeScript)
const everything = [...typescript, ...listFiles('scripts')]

/** Returns the lines of files that match a pattern, each with the remedy. `read` returns the text to search. */
function find(
  files: readonly string[],
  pattern: RegExp,
  remedy: string,
  read: (path: string) => string,
): string[] {
  return files.flatMap(path =>
    read(path)
      .split('\n')
      .flatMap((line, index) =>
        pattern.test(line) ? [`${path}:${index + 1}: ${line.trim()} — ${remedy}`] : [],
      ),
  )
}

const codeOnly = (path: string): string => stripComments(readText(path), { strings: 'blank' })

describe('files', () => {
  it('have kebab-case names', () => {
    const named = /^(_?[a-z0-9]+(-[a-z0-9]+)*)(\.[a-z0-9-]+)*$/
    const wrong = everything
      .filter(path => !named.test(path.split('/').at(-1)!))
      .map(path => `${path}: rename it in kebab-case`)
    expect(wrong).toEqual([])
  })

  it('have no to-do marks', () => {
    const marks = /\b(TO[D]O|FIX[M]E|XX[X]|HAC[K])\b/
    expect(find(everything, marks, 'do it now or describe the current state', readText)).toEqual([])
  })

  it('run all of their tests', () => {
    const disabled = /\b(it|test|describe|bench)(\.\w+)*\.(only|skip|todo|fails)\b/
    const remedy = 'install missing programs, or select tests by capabilities'
    expect(find(typescript, disabled, remedy, codeOnly)).toEqual([])
  })

  it('keep the compiler strict', () => {
    const silenced = /@ts-(?:ig[n]ore|no[c]heck)|biome-ig[n]ore-all/
    expect(find(everything, silenced, 'use the correct type', readText)).toEqual([])
    const loose = /(:\s*|\bas\s+|<)any(?=\s*(?:[,;)=>|&[\]}]|$))/
    expect(find(typescript, loose, 'use unknown and narrow it', codeOnly)).toEqual([])
    expect(find(sources, /^\s*(export\s+)?(const\s+)?enum\s/, 'a union of strings', codeOnly)).toEqual([])
    expect(find(sources, /^\s*export\s+default\b/, 'export it by name', codeOnly)).toEqual([])
  })
})

describe('maximum sizes', () => {
  it('are all used', () => {
    const code = sources
      .filter(path => path !== 'src/core/max-sizes.ts')
      .map(codeOnly)
      .join('\n')
    const unused = Object.keys(MAX_SIZES)
      .filter(
        key =>
          !new RegExp(`\\bMAX_SIZES\\.${key}\\b|\\{[^}]*\\b${key}\\b[^}]*\\}\\s*=\\s*MAX_SIZES\\b`).test(
            code,
          ),
      )
      .map(key => `MAX_SIZES.${key} is unused: use it, or remove it from src/core/max-sizes.ts`)
    expect(unused).toEqual([])
  })

  it('are whole numbers above zero', () => {
    for (const [key, bound] of Object.entries(MAX_SIZES)) {
      expect(Number.isSafeInteger(bound) && bound > 0, `MAX_SIZES.${key} = ${bound}`).toBe(true)
    }
  })
})
