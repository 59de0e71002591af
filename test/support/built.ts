import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** Folder of the project. */
export const ROOT = join(import.meta.dirname, '../..')

/** Path of the built command. */
export const CLI = join(ROOT, 'dist/src/cli/main.js')

const LOCK = join(ROOT, 'node_modules/.cache/topicgate/build.lock')
const LOCK_POLL_MS = 25
const MAX_BUILD_MS = 120_000

let built: Promise<void> | undefined

/**
 * Resolves when `dist` is up to date. Builds only missing and outdated files. A lock file makes test files in other
 * processes wait for each other. Rejects with the output of the compiler.
 */
export function ensureBuilt(): Promise<void> {
  built ??= build()
  return built
}

async function build(): Promise<void> {
  while (!takeLock()) await new Promise(resolve => setTimeout(resolve, LOCK_POLL_MS))
  try {
    await runScript([join(ROOT, 'scripts/build.js')])
  } finally {
    rmSync(LOCK, { force: true })
  }
}

/** Creates the lock file. Returns false if it exists; deletes it then if its process has ended. */
function takeLock(): boolean {
  mkdirSync(dirname(LOCK), { recursive: true })
  try {
    writeFileSync(LOCK, String(process.pid), { flag: 'wx' })
    return true
  } catch {
    if (!isLockHeld()) rmSync(LOCK, { force: true })
    return false
  }
}

function isLockHeld(): boolean {
  try {
    const pid = Number(readFileSync(LOCK, 'utf8'))
    // The file is empty for a moment between its creation and the writing of the process id.
    if (pid > 0) process.kill(pid, 0)
    return Date.now() - statSync(LOCK).mtimeMs < MAX_BUILD_MS
  } catch {
    return false
  }
}

function runScript(args: readonly string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...args], { cwd: ROOT, stdio: ['ignore', 'pipe', 'pipe'] })
    let output = ''
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', chunk => {
        output += chunk
      })
    }
    child.once('error', reject)
    child.once('close', code => {
      if (code === 0) resolve()
      else reject(new Error(`the build failed:\n${output}`))
    })
  })
}
