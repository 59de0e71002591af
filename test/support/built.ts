import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'

/** The project's folder. */
export const ROOT = join(import.meta.dirname, '../..')

/** The built command. */
export const CLI = join(ROOT, 'dist/src/cli/main.js')

const LOCK = join(ROOT, 'node_modules/.cache/topicgate/build.lock')
const LOOK_MS = 25
const LONGEST_BUILD_MS = 120_000

let built: Promise<void> | undefined

/**
 * Resolves when dist is what the sources say; builds only what is missing or older. Test files that ask at the same
 * moment, each in a process of its own, wait for each other. Rejects with the compiler's words.
 */
export function ensureBuilt(): Promise<void> {
  built ??= build()
  return built
}

async function build(): Promise<void> {
  while (!takeLock()) await new Promise(resolve => setTimeout(resolve, LOOK_MS))
  try {
    await runStep([join(ROOT, 'scripts/build.js')])
  } finally {
    rmSync(LOCK, { force: true })
  }
}

/** False while another living process holds it. */
function takeLock(): boolean {
  mkdirSync(dirname(LOCK), { recursive: true })
  try {
    writeFileSync(LOCK, String(process.pid), { flag: 'wx' })
    return true
  } catch {
    if (!isHeld()) rmSync(LOCK, { force: true })
    return false
  }
}

function isHeld(): boolean {
  try {
    const pid = Number(readFileSync(LOCK, 'utf8'))
    // Without a number only for the moment between its making and its writing.
    if (pid > 0) process.kill(pid, 0)
    return Date.now() - statSync(LOCK).mtimeMs < LONGEST_BUILD_MS
  } catch {
    return false
  }
}

function runStep(args: readonly string[]): Promise<void> {
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
