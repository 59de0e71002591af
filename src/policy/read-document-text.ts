import { readFile, stat } from 'node:fs/promises'
import type { Problem } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'

/** Returns the text of a file, or the problem of reading it. `noun` names the kind of file, as `policy`. */
export async function readDocumentText(
  file: string,
  noun: string,
  tooLargeRemedy: string,
): Promise<string | Problem> {
  try {
    const bytes = (await stat(file)).size
    if (bytes > MAX_SIZES.policyBytes) {
      const message = `the file has ${bytes} bytes; a ${noun} has at most ${MAX_SIZES.policyBytes}`
      return { message, remedy: tooLargeRemedy }
    }
    return new TextDecoder('utf-8', { fatal: true }).decode(await readFile(file))
  } catch (error) {
    const code = (error as NodeJS.ErrnoException).code
    if (code === 'ERR_ENCODING_INVALID_ENCODED_DATA') {
      return { message: 'the file is not UTF-8', remedy: 'save it as UTF-8' }
    }
    const reason =
      code === 'ENOENT' ? 'there is no such file' : code === 'EISDIR' ? 'it is a folder' : String(code)
    return { message: `the ${noun} cannot be read: ${reason}`, remedy: 'check the path and its permissions' }
  }
}
