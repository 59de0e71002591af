// Compiles bench/ and runs it, whole or in parts: node scripts/bench.js [part …] [--rounds N] [--write FILE]. Parts: PARTS in bench/main.ts.
import { spawnSync } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const home = fileURLToPath(new URL('..', import.meta.url))
const run = (command, args, cwd = home) => {
  const { status } = spawnSync(command, args, { cwd, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
run('npx', ['tsc', '-p', 'bench/tsconfig.json'])

// The limiters to compare with bring about 90 packages, so `npm install` leaves them out.
const options = { rounds: { type: 'string' }, write: { type: 'string' } }
const { positionals } = parseArgs({ allowPositionals: true, options })
if (positionals.length === 0 || positionals.includes('traffic')) {
  const listed = `${home}bench/limiters/package.json`
  const cache = `${home}node_modules/.cache/topicgate/limiters`
  const installed = `${cache}/package.json`
  const isCurrent = existsSync(installed) && readFileSync(installed, 'utf8') === readFileSync(listed, 'utf8')
  if (!isCurrent || !existsSync(`${cache}/node_modules/limiter`)) {
    console.error('bench: installing the limiters to compare with into node_modules/.cache')
    mkdirSync(cache, { recursive: true })
    cpSync(listed, installed)
    run('npm', ['install', '--no-package-lock', '--no-audit', '--no-fund'], cache)
  }
}
const built = 'node_modules/.cache/topicgate/bench'
run(process.execPath, [`${built}/bench/main.js`, ...process.argv.slice(2)])
