import { readFile, stat } from 'node:fs/promises'
import { PolicyError } from '../core/errors.ts'

const WRITABLE_BY_OTHERS = 0o002

/** Reads a file that decides about access. Throws PolicyError if it cannot be read or any user may write to it. */
export async function readConfigFile(path: string, remedy: string): Promise<string> {
  try {
    const { mode } = await stat(path)
    if ((mode & WRITABLE_BY_OTHERS) === 0 || process.platform === 'win32') return await readFile(path, 'utf8')
  } catch (cause) {
    const { code = String(cause) } = cause as NodeJS.ErrnoException
    throw new PolicyError([{ file: path, message: `the file cannot be read: ${code}`, remedy }], { cause })
  }
  throw new PolicyError([
    { file: path, message: 'every user may write to this file', remedy: `chmod o-w ${path}` },
  ])
}
