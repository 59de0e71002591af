// What `tsc -b` leaves to be done in dist: write what it believes to be there already, take away what has no
// source any more, copy what is not TypeScript, and make the command runnable.
import { spawnSync } from 'node:child_process'
import { chmodSync, copyFileSync, existsSync, mkdirSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, extname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')
const roots = ['src', 'brokers']

/** Files that go beside the compiled code as they are. */
const assets = new Set(['.lua', '.html', '.css', '.svg'])

/** Files under a folder, as paths from the project's root. */
function list(folder) {
  const base = join(root, folder)
  if (!existsSync(base)) return []
  return readdirSync(base, { withFileTypes: true, recursive: true })
    .filter(entry => entry.isFile())
    .map(entry => relative(root, join(entry.parentPath ?? entry.path, entry.name)))
}

/** Of the tests, what topicgate/testing is made of: the files the compiler is given by name. */
const { include } = JSON.parse(readFileSync(join(root, 'tsconfig.json'), 'utf8'))
const published = include.filter(path => path.startsWith('test/'))

const sources = [...roots.flatMap(list), ...published]
const modules = sources.filter(file => file.endsWith('.ts') && !file.endsWith('.d.ts'))
const copied = sources.filter(file => assets.has(extname(file)))
const stems = modules.map(file => join('dist', file.slice(0, -'.ts'.length)))

// The build info remembers what was written, not whether it is still there.
if (stems.some(stem => !existsSync(join(root, `${stem}.js`)) || !existsSync(join(root, `${stem}.d.ts`)))) {
  const tsc = createRequire(import.meta.url)
    .resolve('typescript/package.json')
    .replace(/package\.json$/, 'bin/tsc')
  const { status } = spawnSync(process.execPath, [tsc, '-b', '--force'], { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

const wanted = new Set([
  ...stems.flatMap(stem => ['.js', '.js.map', '.d.ts', '.d.ts.map'].map(ending => stem + ending)),
  ...copied.map(file => join('dist', file)),
])
for (const file of [...roots, 'test'].flatMap(folder => list(join('dist', folder)))) {
  if (!wanted.has(file)) rmSync(join(root, file))
}

for (const file of copied) {
  mkdirSync(dirname(join(dist, file)), { recursive: true })
  copyFileSync(join(root, file), join(dist, file))
}

const main = join(dist, 'src/cli/main.js')
if (existsSync(main)) chmodSync(main, 0o755)
