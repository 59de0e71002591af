import { readdirSync } from 'node:fs'
import { basename, dirname } from 'node:path'

/** Returns the name of a file of a capture: `name.2.jsonl.gz` for the second one of `name.jsonl.gz`. */
export function numberedFileName(file: string, number: number): string {
  return number === 1 ? file : insertBeforeExtension(file, String(number))
}

/** Adds a part to the name of a file, before its extensions: `day.2.jsonl.gz`. */
export function insertBeforeExtension(file: string, part: string): string {
  const [, name = file, extensions = ''] = /^(.*?[^/.])((?:\.[A-Za-z0-9]+){0,2})$/.exec(file) ?? []
  return `${name}.${part}${extensions}`
}

/** Returns the numbers of the files that a capture has, in ascending order. Throws if their folder cannot be read. */
export function findNumbers(file: string): readonly number[] {
  const [before = '', after = ''] = insertBeforeExtension(basename(file), '/').split('/')
  const numbers = readdirSync(dirname(file)).flatMap(name => {
    if (name === basename(file)) return [1]
    if (!name.startsWith(before) || !name.endsWith(after)) return []
    const number = Number(name.slice(before.length, name.length - after.length))
    return Number.isSafeInteger(number) && number > 1 ? [number] : []
  })
  return numbers.sort((a, b) => a - b)
}

/** Returns the files of a capture in the order in which they were written; only the named one if none is there. */
export function listCaptureFiles(file: string): readonly string[] {
  try {
    const numbers = findNumbers(file)
    return numbers.length === 0 ? [file] : numbers.map(number => numberedFileName(file, number))
  } catch {
    // Reading it says why.
    return [file]
  }
}
