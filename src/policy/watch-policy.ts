import { createHash } from 'node:crypto'
import { type FSWatcher, readFileSync, realpathSync, unwatchFile, watch, watchFile } from 'node:fs'
import { dirname, resolve } from 'node:path'
import { type Clock, systemClock } from '../core/clock.ts'

export interface WatchOptions {
  readonly clock?: Clock | undefined
  /** Changes within this time of each other count as one. Default: 100. */
  readonly debounceMs?: number | undefined
  /** Interval of polling files for systems without change notifications, such as network disks. Default: 5000. */
  readonly pollMs?: number | undefined
  /** Signal that reloads the policy, changed or not; false for none. Default: SIGHUP. */
  readonly signal?: NodeJS.Signals | false | undefined
  /** Called with errors of `reload`. Default: ignores them, as a gate emits its own event. */
  readonly onError?: ((error: unknown) => void) | undefined
}

export interface PolicyWatch {
  /** Stops watching and waits for a running reload. */
  close(): Promise<void>
}

/**
 * Calls `reload` at a signal and when the contents of a file have changed, one call at a time. Handles renames,
 * deletion and recreation, and the swapped links of mounted ConfigMaps: it watches the folders, polls the files and
 * compares the contents. Never throws and never keeps the process alive.
 */
export function watchPolicy(
  paths: readonly string[],
  reload: () => Promise<void>,
  options: WatchOptions = {},
): PolicyWatch {
  return new PolicyFileWatch(paths, reload, options)
}

class PolicyFileWatch implements PolicyWatch {
  readonly #files: readonly string[]
  readonly #reload: () => Promise<void>
  readonly #clock: Clock
  readonly #debounceMs: number
  readonly #signal: NodeJS.Signals | false
  readonly #onError: (error: unknown) => void
  #watchers: readonly FSWatcher[] = []
  readonly #onChange = (): void => this.#schedule()
  readonly #onSignal = (): void => this.#reloadIfChanged(true)
  #cancel: (() => void) | undefined
  #lastHash: string | undefined
  #lastReload: Promise<void> = Promise.resolve()
  #isClosed = false

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
    this.#lastHash = this.#hash()
  }

  async close(): Promise<void> {
    this.#isClosed = true
    this.#cancel?.()
    if (this.#signal !== false) process.off(this.#signal, this.#onSignal)
    for (const file of this.#files) unwatchFile(file, this.#onChange)
    for (const watcher of this.#watchers) watcher.close()
    await this.#lastReload
  }

  #schedule(): void {
    if (this.#isClosed) return
    this.#cancel?.()
    this.#cancel = this.#clock.after(this.#debounceMs, () => this.#reloadIfChanged(false))
  }

  #reloadIfChanged(always: boolean): void {
    this.#lastReload = this.#lastReload.then(async () => {
      if (this.#isClosed) return
      const now = this.#hash()
      // A file that is missing for a moment is being replaced: its return causes another event.
      const changed = now !== undefined && now !== this.#lastHash
      this.#lastHash = now ?? this.#lastHash
      if (!changed && !always) return
      try {
        await this.#reload()
      } catch (error) {
        this.#reportError(error)
      }
    })
  }

  /** Returns the hash of all contents; undefined if one cannot be read. Watches before it reads, to miss no change. */
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

  /** Renews the watches of the folders that contain the files and the targets of their links. */
  #watchFolders(): void {
    const folders = new Set(this.#files.flatMap(file => [dirname(file), dirname(realPath(file))]))
    const before = this.#watchers
    this.#watchers = [...folders].flatMap(folder => this.#watchNearest(folder))
    for (const watcher of before) watcher.close()
  }

  /** Watches a folder or, if it does not exist, its nearest existing ancestor. */
  #watchNearest(folder: string): readonly FSWatcher[] {
    try {
      const watcher = watch(folder, { persistent: false }, this.#onChange)
      watcher.on('error', this.#onChange)
      return [watcher]
    } catch {
      // No watch is possible even at the root, so only polling remains.
      const above = dirname(folder)
      return above === folder ? [] : this.#watchNearest(above)
    }
  }

  #reportError(error: unknown): void {
    try {
      this.#onError(error)
    } catch {
      // An error handler must not cause new errors.
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
