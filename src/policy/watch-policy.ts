import { createHash } from 'node:crypto'
import { type FSWatcher, readFileSync, realpathSync, unwatchFile, watch, watchFile } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { type Clock, systemClock } from '../core/clock.ts'

export interface WatchOptions {
  readonly clock?: Clock | undefined
  /** Changes that follow each other closer than this are one. Default: 100. */
  readonly debounceMs?: number | undefined
  /** How often files are looked at where the system tells nothing, as on network disks. Default: 5000. */
  readonly pollMs?: number | undefined
  /** The signal that asks for a reload, changed or not; false for none. Default: SIGHUP. */
  readonly signal?: NodeJS.Signals | false | undefined
  /** Is told what `reload` threw. Default: nobody; a gate tells of it by its own event. */
  readonly onError?: ((error: unknown) => void) | undefined
}

export interface PolicyWatch {
  /** Stops watching; waits for a reload under way. */
  close(): Promise<void>
}

/**
 * Calls `reload` when the contents of one of the files have changed, one call at a time, and at a signal. Survives
 * renames, deletion and return, and the swapped links of mounted ConfigMaps: the folders are watched, the files
 * looked at now and then, and what counts is the contents. Never throws and never keeps the process alive.
 */
export function watchPolicy(
  paths: readonly string[],
  reload: () => Promise<void>,
  options: WatchOptions = {},
): PolicyWatch {
  return new Watch(paths, reload, options)
}

class Watch implements PolicyWatch {
  readonly #files: readonly string[]
  readonly #reload: () => Promise<void>
  readonly #clock: Clock
  readonly #debounceMs: number
  readonly #signal: NodeJS.Signals | false
  readonly #onError: (error: unknown) => void
  #watchers: readonly FSWatcher[] = []
  readonly #onChange = (): void => this.#schedule()
  readonly #onSignal = (): void => this.#look(true)
  #cancel: (() => void) | undefined
  #seen: string | undefined
  #looking: Promise<void> = Promise.resolve()
  #closed = false

  constructor(paths: readonly string[], reload: () => Promise<void>, options: WatchOptions) {
    this.#files = [...new Set(paths.map(path => resolve(path)))]
    this.#reload = reload
    this.#clock = options.clock ?? systemClock
    this.#debounceMs = options.debounceMs ?? 100
    this.#signal = options.signal ?? 'SIGHUP'
    this.#onError = options.onError ?? (() => {})
    for (const file of this.#files) {
      watchFile(file, { interval: options.pollMs ?? 5_000, persistent: false }, this.#onChange)
    }
    if (this.#signal !== false) process.on(this.#signal, this.#onSignal)
    this.#seen = this.#hash()
  }

  async close(): Promise<void> {
    this.#closed = true
    this.#cancel?.()
    if (this.#signal !== false) process.off(this.#signal, this.#onSignal)
    for (const file of this.#files) unwatchFile(file, this.#onChange)
    for (const watcher of this.#watchers) watcher.close()
    await this.#looking
  }

  #schedule(): void {
    if (this.#closed) return
    this.#cancel?.()
    this.#cancel = this.#clock.after(this.#debounceMs, () => this.#look(false))
  }

  #look(always: boolean): void {
    this.#looking = this.#looking.then(async () => {
      if (this.#closed) return
      const now = this.#hash()
      // A file that is gone for a moment is being replaced: its return will be told of.
      const changed = now !== undefined && now !== this.#seen
      this.#seen = now ?? this.#seen
      if (!changed && !always) return
      try {
        await this.#reload()
      } catch (error) {
        this.#tell(error)
      }
    })
  }

  /** The hash of all contents, undefined where one cannot be read. Watches before it reads, so that nothing is missed. */
  #hash(): string | undefined {
    this.#watchFolders()
    try {
      const hash = createHash('sha256')
      for (const file of this.#files) {
        const bytes = readFileSync(file)
        hash.update(`${bytes.length}:`).update(bytes)
      }
      return hash.digest('base64url')
    } catch {
      return undefined
    }
  }

  /** Watches anew the folders the files lie in now, themselves and where their links lead. */
  #watchFolders(): void {
    const folders = new Set(this.#files.flatMap(file => [dirname(file), dirname(realPath(file))]))
    const before = this.#watchers
    this.#watchers = [...folders].flatMap(folder => this.#watchNearest(folder))
    for (const watcher of before) watcher.close()
  }

  /** Watches a folder, or where it is not there the nearest one above it: it may come. */
  #watchNearest(folder: string): readonly FSWatcher[] {
    try {
      const watcher = watch(folder, { persistent: false }, this.#onChange)
      watcher.on('error', this.#onChange)
      return [watcher]
    } catch {
      // Out of watches even at the root: looking now and then has to do.
      const above = dirname(folder)
      return above === folder ? [] : this.#watchNearest(above)
    }
  }

  #tell(error: unknown): void {
    try {
      this.#onError(error)
    } catch {
      // Who is told of errors must not make new ones.
    }
  }
}

function realPath(file: string): string {
  try {
    return realpathSync(file)
  } catch {
    return file
  }
}
