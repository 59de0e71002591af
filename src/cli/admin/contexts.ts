import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { dirname, join } from 'node:path'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import type { Terminal } from '../terminal/terminal.ts'

/** A named topicgate: its address, and the file of the token for it. */
export interface CliContext {
  readonly to: string
  readonly tokenFile?: string | undefined
}

export interface SavedCliContexts {
  /** Name of the context in use. */
  readonly current?: string | undefined
  readonly contexts: Readonly<Record<string, CliContext>>
}

function contextsFile(env: Terminal['env']): string {
  const config = env.XDG_CONFIG_HOME || join(env.HOME || homedir(), '.config')
  return join(config, 'topicgate', 'contexts.json')
}

/** Returns all contexts. Throws CommandError for a broken file. */
export function readContexts(env: Terminal['env']): SavedCliContexts {
  const file = contextsFile(env)
  if (!existsSync(file)) return { contexts: {} }
  try {
    return JSON.parse(readFileSync(file, 'utf8')) as SavedCliContexts
  } catch (cause) {
    throw new CommandError(`${file} is broken (remove it)`, EXIT.failed, { cause })
  }
}

/** Returns the context in use; undefined if there is none. */
export function findContext(env: Terminal['env']): CliContext | undefined {
  const { current, contexts } = readContexts(env)
  return current !== undefined && Object.hasOwn(contexts, current) ? contexts[current] : undefined
}

/** Adds a context and uses it. */
export function addContext(env: Terminal['env'], name: string, context: CliContext): SavedCliContexts {
  const { contexts } = readContexts(env)
  return writeContexts(env, { current: name, contexts: { ...contexts, [name]: context } })
}

/** Uses another context. Throws CommandError if there is none of this name. */
export function useContext(env: Terminal['env'], name: string): SavedCliContexts {
  const { contexts } = readContexts(env)
  if (!Object.hasOwn(contexts, name)) {
    const remedy = 'topicgate context ls lists them'
    throw new CommandError(`there is no context "${name}" (${remedy})`, EXIT.failed)
  }
  return writeContexts(env, { current: name, contexts })
}

function writeContexts(env: Terminal['env'], contexts: SavedCliContexts): SavedCliContexts {
  const file = contextsFile(env)
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  writeFileSync(file, `${JSON.stringify(contexts, null, 2)}\n`, { mode: 0o600 })
  return contexts
}
