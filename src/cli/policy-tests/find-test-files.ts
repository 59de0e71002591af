import { readdir, stat } from 'node:fs/promises'
import { join } from 'node:path'
import { CommandError, EXIT } from '../terminal/command-error.ts'

/** Names of files of tests in a folder. */
const TEST_FILE_NAME = /\.test\.(?:ya?ml|json)$/

/**
 * Returns the files of tests in order: a folder is replaced by its `*.test.yaml`, those of its subfolders too, without
 * hidden folders and node_modules. Rejects with CommandError for a folder without any.
 */
export async function findTestFiles(paths: readonly string[]): Promise<readonly string[]> {
  const files: string[] = []
  for (const path of paths) {
    const found = await stat(path).catch(() => undefined)
    if (!found?.isDirectory()) {
      files.push(path)
      continue
    }
    const inside = await listTestFiles(path)
    if (inside.length === 0) {
      const remedy = 'name a file of tests, or let its name end in .test.yaml'
      throw new CommandError(`${path}: there is no file of tests in this folder (${remedy})`, EXIT.failed)
    }
    files.push(...inside)
  }
  return [...new Set(files)]
}

async function listTestFiles(folder: string): Promise<readonly string[]> {
  const entries = await readdir(folder, { withFileTypes: true })
  const files: string[] = []
  for (const entry of entries.toSorted((a, b) => (a.name < b.name ? -1 : 1))) {
    const path = join(folder, entry.name)
    if (entry.isDirectory()) {
      const isSkipped = entry.name.startsWith('.') || entry.name === 'node_modules'
      if (!isSkipped) files.push(...(await listTestFiles(path)))
    } else if (TEST_FILE_NAME.test(entry.name)) files.push(path)
  }
  return files
}
