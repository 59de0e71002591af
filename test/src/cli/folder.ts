import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

/** A folder of a test's own, removed when its scope ends. */
export class Folder implements Disposable {
  readonly path = mkdtempSync(join(tmpdir(), 'topicgate-cli-'))

  /** Writes a file, and answers its path. */
  file(name: string, text: string | Buffer): string {
    const path = join(this.path, name)
    writeFileSync(path, text)
    return path
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true })
  }
}
