// Runs on `npm install` here and on the first `npx topicgate`: builds dist. Without the compiler (no `npm install`
// yet, or `--omit=dev`) it only says so: npx keeps a folder for this project that a failing script would leave
// half made, and every later `npx topicgate` would then fail for a reason nobody can see.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))

if (!existsSync(new URL('../node_modules/typescript/package.json', import.meta.url))) {
  process.stderr.write('topicgate is not built: the compiler is missing. Run `npm install` first.\n')
} else {
  const { status } = spawnSync('npm', ['run', '--silent', 'build'], {
    cwd: root,
    stdio: 'inherit',
    shell: process.platform === 'win32',
  })
  process.exitCode = status ?? 1
}
