import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** The path of a file of this package: two folders up from the sources, three from what is built of them. */
export function packageFile(path: string): string {
  const [sources, built] = ['../../', '../../../'].map(up => new URL(up, import.meta.url))
  const root = existsSync(new URL('package.json', sources)) ? sources : built
  return fileURLToPath(new URL(path, root))
}

/** The version of this package. */
export function readVersion(): string {
  return String(
    (JSON.parse(readFileSync(packageFile('package.json'), 'utf8')) as { version: unknown }).version,
  )
}
