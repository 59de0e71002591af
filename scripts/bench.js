// Compiles bench/ and runs it: node scripts/bench.js [decide] [patterns] [broker] [memory] [strangers] [expiry] [--rounds N] [--write]
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const home = fileURLToPath(new URL('..', import.meta.url))
const run = (command, args) => {
  const { status } = spawnSync(command, args, { cwd: home, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
run('npx', ['tsc', '-p', 'bench/tsconfig.json'])
run(process.execPath, ['node_modules/.cache/topicgate/bench/bench/main.js', ...process.argv.slice(2)])
