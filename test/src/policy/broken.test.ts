import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { PolicyError, type Problem } from '../../../src/core/errors.ts'
import { loadPolicy } from '../../../src/policy/index.ts'

const FOLDER = new URL('./broken/', import.meta.url).pathname
const FILES = readdirSync(FOLDER).filter(name => name.endsWith('.yaml'))

async function problemsOf(file: string): Promise<PolicyError> {
  const loaded = await loadPolicy(file, { env: {} }).catch((error: unknown) => error)
  if (loaded instanceof PolicyError) return loaded
  throw new Error(`${file} is not broken`)
}

/** The comments on top of a file: what loading it says, without the file's name. */
function expectedOf(text: string): string[] {
  return [...text.matchAll(/^# (\d+:\d+: .*)$/gm)].map(([, line = '']) => line)
}

describe('a broken policy', () => {
  it('has a file for every error there is', () => {
    expect(FILES.length).toBeGreaterThan(200)
  })

  it.each(FILES)('%s says where, what, and the remedy', async name => {
    const file = FOLDER + name
    const expected = expectedOf(readFileSync(file, 'utf8'))
    const error = await problemsOf(file)
    expect(expected.length).toBeGreaterThan(0)
    expect(error.message.split('\n')).toEqual(expected.map(line => `${file}:${line}`))
    for (const problem of error.problems) {
      expect(problem).toEqual<Problem>({
        file,
        line: expect.any(Number),
        column: expect.any(Number),
        message: expect.stringMatching(/\S/),
        remedy: expect.stringMatching(/\S/),
        ...(problem.path === undefined ? {} : { path: problem.path }),
      })
    }
  })
})
