// Builds dist: type declarations by the compiler, one bundle per public entry point with shared chunks, and the dashboard.
// Why bundles: loading 180 small files costs a program more than running them. Builds only what has changed.
import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join, relative } from 'node:path'
import { fileURLToPath } from 'node:url'
import { buildDashboard } from './build-dashboard.js'

const root = fileURLToPath(new URL('..', import.meta.url))
const dist = join(root, 'dist')
const cache = join(root, 'node_modules/.cache/topicgate')
const dashboard = join('src', 'dashboard')
const dashboardOutput = join('dist', 'ui')

/**
 * Bundled, so that installing the package does not install them, or that they load in one file. Why: of 4 MB of hono, the
 * admin server uses 40 kB; yaml and zod are 150 files, half of the CPU time until a broker is ready. zod stays a
 * dependency, because declarations use its types.
 */
const BUNDLED = new Set(['commander', 'hono', '@hono/node-server', 'yaml', 'zod'])

const require = createRequire(import.meta.url)

/** Packages that the bundles and the dashboard contain. Their licenses ask for a copy of the text. */
const SHIPPED = [...BUNDLED, 'preact', '@preact/signals', '@preact/signals-core', 'uplot']
const LICENSES = join('dist', 'THIRD-PARTY-LICENSES.txt')

/** The build of yaml for Node is CommonJS, and reads process.env for each token. */
const ALIASES = { yaml: join(dirname(require.resolve('yaml/package.json')), 'browser/index.js') }

/** Modules that almost every entry point needs: one chunk of them loads faster than twenty. */
const CORE = /\/src\/(?:core|algorithms|conditions|topic|outcomes|chain|adaptive|gate)\//

const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const tsconfig = JSON.parse(readFileSync(join(root, 'tsconfig.json'), 'utf8'))
const publishedTests = tsconfig.include.filter(path => path.startsWith('test/'))

/** Lists the files below a folder as paths from the project's root. */
function listFiles(folder) {
  if (!existsSync(join(root, folder))) return []
  return readdirSync(join(root, folder), { withFileTypes: true, recursive: true })
    .filter(entry => entry.isFile())
    .map(entry => relative(root, join(entry.parentPath ?? entry.path, entry.name)))
}

const sources = [...listFiles('src'), ...listFiles('brokers'), ...publishedTests].filter(
  path => path.endsWith('.ts') && !path.startsWith(dashboard),
)

/** Runs a build unless its output is there and none of its inputs has changed since. */
async function buildIfChanged(name, output, inputs, run) {
  const all = [...inputs, 'package.json', 'scripts/build.js']
  const stamp = all.map(path => `${path} ${statSync(join(root, path)).mtimeMs}`).join('\n')
  const stampFile = join(cache, `${name}.stamp`)
  const isCurrent = existsSync(stampFile) && readFileSync(stampFile, 'utf8') === stamp
  if (isCurrent && existsSync(join(root, output))) return
  await run()
  mkdirSync(cache, { recursive: true })
  writeFileSync(stampFile, stamp)
}

/** Returns the entry points as output name and source, from the package's exports and command. */
function entryPoints() {
  const targets = Object.values(manifest.exports)
    .filter(target => typeof target === 'object')
    .map(target => target.default)
  return Object.fromEntries(
    [...targets, manifest.bin.topicgate].map(target => {
      const name = target.replace(/^(\.\/)?dist\//, '').replace(/\.js$/, '')
      return [name, join(root, `${name}.ts`)]
    }),
  )
}

function runCompiler(...args) {
  const tsc = join(dirname(require.resolve('typescript/package.json')), 'bin/tsc')
  const { status } = spawnSync(process.execPath, [tsc, '-b', ...args], { cwd: root, stdio: 'inherit' })
  if (status !== 0) process.exit(status ?? 1)
}

async function writeBundles() {
  const { build } = await import('rolldown')
  const isExternal = id => {
    if (id.startsWith('.') || id.startsWith('/')) return false
    const name = id
      .split('/')
      .slice(0, id.startsWith('@') ? 2 : 1)
      .join('/')
    return !BUNDLED.has(name)
  }
  const { output } = await build({
    cwd: root,
    input: entryPoints(),
    external: isExternal,
    platform: 'node',
    resolve: { alias: ALIASES },
    write: false,
    output: {
      dir: dist,
      format: 'esm',
      sourcemap: true,
      entryFileNames: '[name].js',
      chunkFileNames: 'chunks/[name]-[hash].js',
      codeSplitting: { groups: [{ name: 'core', test: CORE }] },
      // Messages and stack traces show names as they are written.
      minify: false,
      comments: { legal: true, annotation: true, jsdoc: false },
    },
  })
  const written = new Set()
  for (const file of output) {
    const content = file.type === 'asset' ? file.source : file.code
    const path = join(dist, file.fileName)
    written.add(relative(root, path))
    mkdirSync(dirname(path), { recursive: true })
    // Renamed into place: a process that loads the old build meanwhile never reads half a file.
    writeFileSync(`${path}.${process.pid}`, content)
    renameSync(`${path}.${process.pid}`, path)
  }
  return written
}

function writeLicenses() {
  const texts = [...SHIPPED].sort().map(name => {
    const folder = join(root, 'node_modules', name)
    const { version, license } = JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8'))
    const file = readdirSync(folder).find(each => /^licen[cs]e/i.test(each))
    if (file === undefined) throw new Error(`${name} has no file with its license`)
    return `${name} ${version} (${license})\n\n${readFileSync(join(folder, file), 'utf8').trim()}\n`
  })
  writeFileSync(join(root, LICENSES), texts.join(`\n${'-'.repeat(80)}\n\n`))
}

async function buildPackage() {
  const declarations = sources.map(path => join('dist', path.replace(/\.ts$/, '.d.ts')))
  runCompiler()
  // The compiler remembers what it wrote, not whether the files are still there.
  if (declarations.some(path => !existsSync(join(root, path)))) runCompiler('--force')
  const kept = new Set([...declarations, ...(await writeBundles()), LICENSES])
  writeLicenses()
  for (const path of listFiles('dist')) {
    if (!kept.has(path) && !path.startsWith(dashboardOutput)) rmSync(join(root, path))
  }
  chmodSync(join(root, manifest.bin.topicgate), 0o755)
}

await buildIfChanged('build', 'dist/src', [...sources, 'tsconfig.json'], buildPackage)
await buildIfChanged(
  'dashboard',
  dashboardOutput,
  [...listFiles(dashboard), 'scripts/build-dashboard.js', 'package-lock.json'],
  () => buildDashboard(root, dashboard, dashboardOutput),
)
