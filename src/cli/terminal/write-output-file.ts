import { mkdir, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'
import { CommandError, EXIT } from './command-error.ts'

/** Writes a file that the user named, and creates its folder. Rejects with CommandError if it cannot be written; `what` is as in `the policy`. */
export async function writeOutputFile(path: string, what: string, text: string): Promise<void> {
  try {
    await mkdir(dirname(path), { recursive: true })
    await writeFile(path, text)
  } catch (cause) {
    const { code = '' } = cause as NodeJS.ErrnoException
    throw new CommandError(`${path}: ${what} cannot be written: ${code} (name another file)`, EXIT.failed, {
      cause,
    })
  }
}
