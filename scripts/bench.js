// Compiles bench/ and runs it, whole or in parts: node scripts/bench.js [part …] [--rounds N] [--write FILE]. Parts: PARTS in bench/main.ts.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const home = fileURLToPath(new URL('..', import.meta.url))
const run = (command, args) => {
  const { status } = spawnSync(command, args, { cwd: home, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}
run('npx', ['tsc', '-p', 'bench/tsconfig.json'])
const built = 'node_modules/.cache/topicgate/bench'
run(process.execPath, [`${built}/bench/main.js`, ...process.argv.slice(2)])
