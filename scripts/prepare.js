// Builds dist after `npm install` and `npm ci` in a checkout (the `dependencies` script of package.json). Without the
// compiler (`--omit=dev`) it only prints a hint: a failing script would leave the folder half installed.
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
