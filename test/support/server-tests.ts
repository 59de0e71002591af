import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'

/** Modules that start a server or load a library that scripts/ensure-servers.sh installs. */
const SERVER_MODULES = new Set(['test/support/server.ts', 'test/src/stores/sqlite/drivers.ts'])

const IMPORTS = /(?:from\s+|import\s*\(?\s*)'(\.[^']+)'/g

/** Returns the test files that import one of these modules, directly or indirectly. End-to-end tests are left out. */
export function findServerTests(root: string): readonly string[] {
  const imports = new Map<string, readonly string[]>()
  const needsServer = (file: string, seen: Set<string>): boolean => {
    if (SERVER_MODULES.has(file)) return true
    if (seen.has(file)) return false
    seen.add(file)
    let found = imports.get(file)
    if (found === undefined) {
      found = importsOf(root, file)
      imports.set(file, found)
    }
    return found.some(each => needsServer(each, seen))
  }
  return readdirSync(join(root, 'test'), { recursive: true, encoding: 'utf8' })
    .filter(file => file.endsWith('.test.ts'))
    .map(file => `test/${file}`)
    .filter(file => !file.startsWith('test/e2e/') && !file.startsWith('test/structure/'))
    .filter(file => needsServer(file, new Set()))
    .sort()
}

/** Returns the modules of `test/` that a file imports. */
function importsOf(root: string, file: string): readonly string[] {
  const text = readFileSync(join(root, file), 'utf8')
  return Array.from(text.matchAll(IMPORTS), ([, specifier = '']) =>
    relative(root, join(root, dirname(file), specifier)),
  ).filter(path => path.startsWith('test/') && existsSync(join(root, path)))
}
