// Runs the demo, and rebuilds and restarts it after every change in src, brokers or config.
// Usage: npm run dev [-- COMMAND ARGUMENTS], as npm run dev -- broker --policy policy.yaml
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { watch } from 'node:fs'
import { fileURLToPath } from 'node:url'

/** Editors and git write several files at once; the build starts when this time has passed without a change. */
const QUIET_MS = 200

const root = fileURLToPath(new URL('..', import.meta.url))
const command = process.argv.length > 2 ? process.argv.slice(2) : ['demo']

/** The command that runs now. */
let child
let isBuilding = false
let hasChanged = false
let isStopping = false
let timer

function run(...args) {
  return spawn(process.execPath, args, { cwd: root, stdio: 'inherit' })
}

async function stopChild() {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return
  const exited = once(child, 'exit')
  child.kill('SIGTERM')
  await exited
}

async function rebuild() {
  if (isBuilding) return
  isBuilding = true
  do {
    hasChanged = false
    const [status] = await once(run('scripts/build.js'), 'exit')
    if (isStopping) return
    if (status !== 0) {
      console.error('dev: the build failed; waiting for a change')
    } else if (!hasChanged) {
      await stopChild()
      if (isStopping) return
      child = run('dist/src/cli/main.js', ...command)
    }
  } while (hasChanged)
  isBuilding = false
}

function noteChange() {
  clearTimeout(timer)
  timer = setTimeout(() => {
    hasChanged = true
    void rebuild()
  }, QUIET_MS)
}

for (const folder of ['src', 'brokers', 'config']) {
  // A folder that is removed while it is read is a change as well.
  watch(`${root}${folder}`, { recursive: true }, noteChange).on('error', noteChange)
}

for (const signal of ['SIGINT', 'SIGTERM']) {
  process.once(signal, () => {
    isStopping = true
    // A terminal sends SIGINT to the child as well.
    if (signal === 'SIGTERM' || !process.stdin.isTTY) child?.kill('SIGTERM')
    const exit = () => process.exit(child?.exitCode ?? 0)
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) exit()
    else child.once('exit', exit)
  })
}

void rebuild()
