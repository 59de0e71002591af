import { spawnSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { listFiles, readText } from '../structure/project.ts'
import { ensureBuilt, ROOT } from '../support/built.ts'
import { BLOCKS } from './pages.ts'

/*
 * Every program of the pages and of examples/ is compiled as TypeScript against the built declarations, as a reader's own
 * file would be: in the mode `strict`, and with exact optional properties and all declarations checked.
 */

const MODES = {
  strict: { strict: true, skipLibCheck: true },
  strictest: {
    ...{ strict: true, skipLibCheck: false, exactOptionalPropertyTypes: true },
  },
}

/** What compiled files are called, and where their text stands. */
const programs = new Map<string, { readonly place: string; readonly text: string }>([
  ...BLOCKS.filter(({ language }) => language === 'js' || language === 'ts').map(
    ({ page, line, text }) =>
      [`${basename(page, '.md')}-${line}.ts`, { place: `${page}:${line}`, text }] as const,
  ),
  ...listFiles('examples', '.js').map(
    path => [`${path.slice(0, -3)}.ts`, { place: path, text: readText(path) }] as const,
  ),
])

const manifest = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  readonly exports: Readonly<Record<string, { readonly types: string } | string>>
}
const paths = Object.fromEntries(
  Object.entries(manifest.exports).flatMap(([door, target]) =>
    typeof target === 'string' ? [] : [[`topicgate${door.slice(1)}`, [join(ROOT, target.types)]]],
  ),
)

// Inside of the project: its packages are found from there.
let folder: string
beforeAll(async () => {
  await ensureBuilt()
  mkdirSync(join(ROOT, 'node_modules/.cache'), { recursive: true })
  folder = mkdtempSync(join(ROOT, 'node_modules/.cache/docs-types-'))
  mkdirSync(join(folder, 'examples'))
  for (const [name, { text }] of programs) writeFileSync(join(folder, name), `${text}\nexport {}\n`)
}, 120_000)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

/** Compiles all programs at once; returns errors in them and in the declarations of this package. */
function compile(mode: keyof typeof MODES): readonly string[] {
  const compilerOptions = {
    ...MODES[mode],
    ...{ module: 'nodenext', target: 'es2022', lib: ['es2023', 'esnext.disposable'], types: ['node'] },
    ...{ noEmit: true, allowImportingTsExtensions: true, paths },
  }
  const config = join(folder, `tsconfig.${mode}.json`)
  writeFileSync(config, JSON.stringify({ compilerOptions, files: [...programs.keys()] }))
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ type: 'module' }))
  const tsc = join(ROOT, 'node_modules/typescript/bin/tsc')
  const { stdout } = spawnSync(process.execPath, [tsc, '-p', config, '--pretty', 'false'], {
    cwd: folder,
    encoding: 'utf8',
  })
  return stdout.split('\n').flatMap(line => {
    const [, file, rest] = /^(\S+?)(\(\d+,\d+\): .*)$/.exec(line) ?? []
    if (file === undefined) return line.startsWith('error') ? [line] : []
    const program = programs.get(file)
    if (program !== undefined) return [`${program.place} ${file}${rest}`]
    // Errors in the declarations of other packages are theirs.
    return /(^|\/)dist\//.test(file) && !file.includes('node_modules') ? [line] : []
  })
}

describe('programs as TypeScript', () => {
  it('are there', () => {
    expect(programs.size).toBeGreaterThan(60)
  })

  it.each(Object.keys(MODES) as (keyof typeof MODES)[])('compile in %s mode', mode => {
    expect(compile(mode)).toEqual([])
  })
})
