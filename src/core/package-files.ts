import { existsSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Returns the path of a file of this package. Works from the sources and from the bundles in dist, whose depth differs. */
export function packageFile(path: string): string {
  let folder = new URL('.', import.meta.url)
  while (!existsSync(new URL('package.json', folder))) {
    const parent = new URL('..', folder)
    if (parent.href === folder.href) throw new Error(`${path}: no package.json above ${import.meta.url}`)
    folder = parent
  }
  return fileURLToPath(new URL(path, folder))
}

/** Returns the version of this package. */
export function readVersion(): string {
  const { version } = JSON.parse(readFileSync(packageFile('package.json'), 'utf8')) as { version: unknown }
  return String(version)
}
