import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, posix } from 'node:path'

/** Root folder of the project. */
export const ROOT = join(import.meta.dirname, '../..')

const EXCLUDED_FOLDERS = new Set(['node_modules', 'dist', 'coverage', '.git'])

/** Lists files under a folder of the project ('' for all), as paths with slashes from its root. */
export function listFiles(folder: string, ending = ''): string[] {
  if (!existsSync(join(ROOT, folder))) return []
  const files: string[] = []
  for (const entry of readdirSync(join(ROOT, folder), { withFileTypes: true })) {
    const path = posix.join(folder, entry.name)
    // `.git` is a file in a linked work tree.
    if (EXCLUDED_FOLDERS.has(entry.name)) continue
    if (entry.isDirectory()) files.push(...listFiles(path, ending))
    else if (entry.name.endsWith(ending)) files.push(path)
  }
  return files.sort()
}

export function readText(path: string): string {
  return readFileSync(join(ROOT, path), 'utf8')
}

/** Lists the TypeScript files of src and brokers. */
export function listSources(): string[] {
  return ['src', 'brokers'].flatMap(listTypeScript)
}

/** Lists the TypeScript files under a folder, with and without JSX. */
export function listTypeScript(folder: string): string[] {
  return [...listFiles(folder, '.ts'), ...listFiles(folder, '.tsx')]
}

const REGEX = String.raw`(?<=(?:^|[(,=:[!&|?{};>]|\breturn)\s*)\/(?![*/])(?:[^/\\\n[]|\\.|\[(?:[^\]\\\n]|\\.)*\])+\/`
const COMMENT = String.raw`\/\*[\s\S]*?\*\/|\/\/[^\n]*`
const TOKENS = new RegExp(
  [REGEX, COMMENT, /'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*"/.source, '`(?:[^`\\\\]|\\\\.)*`'].join('|'),
  'gm',
)

/** Returns the comments of a source text. */
export function listComments(text: string): string[] {
  return (text.match(TOKENS) ?? []).filter(token => /^\/[*/]/.test(token))
}

/** Removes comments; keeps or blanks the contents of strings and regular expressions. Line breaks stay. */
export function stripComments(text: string, options: { strings: 'keep' | 'blank' }): string {
  return text.replace(TOKENS, token => {
    const breaks = token.replace(/[^\n]/g, '')
    if (/^\/[*/]/.test(token)) return breaks
    return options.strings === 'keep' ? token : `${token[0]}${breaks}${token[0]}`
  })
}

export interface Import {
  /** Path from the root for files of the project, else the package's name (`node:fs`, `mqtt`). */
  readonly to: string
  readonly kind: 'value' | 'type' | 'dynamic'
}

/** Returns the imports and re-exports of a file. */
export function listImports(path: string): Import[] {
  return parseImports(path, readText(path))
}

/** Returns the imports and re-exports of a source text at a path. */
export function parseImports(path: string, source: string): Import[] {
  const text = stripComments(source, { strings: 'keep' })
  const imports: Import[] = []
  const fixed = /^[ \t]*(?:import|export)\s+(type\s+)?(?:([^'"`;=()]*?)\s*from\s*)?['"]([^'"]+)['"]/gm
  for (const [, type, names, specifier] of text.matchAll(fixed)) {
    const kind = type || onlyTypes(names) ? 'type' : 'value'
    imports.push({ to: resolveImport(path, specifier!), kind })
  }
  // A type given as import('…').Name is erased like any other; a call is awaited or returned.
  const called = /(typeof\s+)?\bimport\(\s*['"]([^'"]+)['"]\s*\)(\s*\.\s*(?!then|catch|finally)[A-Z])?/g
  for (const [, typeQuery, specifier, member] of text.matchAll(called)) {
    imports.push({ to: resolveImport(path, specifier!), kind: typeQuery || member ? 'type' : 'dynamic' })
  }
  return imports
}

/** Returns true if a clause such as `{ type A, type B }` imports no value. */
function onlyTypes(names: string | undefined): boolean {
  const inner = names?.match(/^\{([\s\S]*)\}$/)?.[1]
  if (inner === undefined) return false
  const parts = inner.split(',').map(part => part.trim())
  return parts.every(part => part === '' || part.startsWith('type '))
}

function resolveImport(from: string, specifier: string): string {
  if (specifier.startsWith('.')) return posix.join(dirname(from), specifier)
  if (specifier.startsWith('node:')) return specifier
  return specifier
    .split('/')
    .slice(0, specifier.startsWith('@') ? 2 : 1)
    .join('/')
}

export function isProjectFile(target: string): boolean {
  return target.startsWith('src/') || target.startsWith('brokers/')
}
