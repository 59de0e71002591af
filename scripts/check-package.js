// Checks the package as a user installs it: packs it, lints the tarball (publint, attw), installs it in an empty folder,
// imports each entry point, compiles against its declarations in the strictest mode, and runs the command.
import { spawnSync } from 'node:child_process'
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

// Run by npx: they are needed here only, and attw alone brings 58 packages.
const PUBLINT = 'publint@0.3.25'
const ATTW = '@arethetypeswrong/cli@0.18.5'

const root = fileURLToPath(new URL('..', import.meta.url))
const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
const folder = mkdtempSync(join(tmpdir(), 'topicgate-package-'))

function run(title, cwd, command, ...args) {
  const { status, stdout, stderr } = spawnSync(command, args, { cwd, encoding: 'utf8' })
  if (status === 0) return stdout
  process.stderr.write(`check-package: ${title} failed\n${stdout}${stderr}`)
  process.exit(1)
}

/** Lists the page of the dashboard and the files that it loads. */
function listDashboardFiles() {
  const page = join('dist', 'ui', 'index.html')
  if (!existsSync(join(root, page))) return [page]
  const loaded = readFileSync(join(root, page), 'utf8').matchAll(/(?:src|href)="\.\/([^"]+)"/g)
  return [page, ...Array.from(loaded, ([, path]) => `dist/ui/${path}`)]
}

try {
  const packed = JSON.parse(run('npm pack', root, 'npm', 'pack', '--json', '--pack-destination', folder))
  const { filename, size, entryCount, files } = Array.isArray(packed) ? packed[0] : Object.values(packed)[0]
  const tarball = join(folder, filename)
  const unwanted = files
    .map(({ path }) => path)
    .filter(path => /tsbuildinfo|\.tgz$|^test\/|^bench\//.test(path))
  if (unwanted.length > 0) throw new Error(`the tarball holds ${unwanted.join(', ')}`)
  const needed = [...listDashboardFiles(), 'dist/THIRD-PARTY-LICENSES.txt']
  const missing = needed.filter(file => !files.some(({ path }) => path === file))
  if (missing.length > 0) throw new Error(`the tarball lacks ${missing.join(', ')}`)
  run('publint', root, 'npx', '--yes', PUBLINT, 'run', tarball, '--strict')
  run('attw', root, 'npx', '--yes', ATTW, '--profile', 'esm-only', tarball)

  const app = join(folder, 'app')
  run('mkdir', folder, 'mkdir', app)
  writeFileSync(join(app, 'package.json'), JSON.stringify({ name: 'app', private: true, type: 'module' }))
  run('npm install', app, 'npm', 'install', '--no-fund', '--no-audit', tarball)
  const installedCount = readdirSync(join(app, 'node_modules')).filter(name => !name.startsWith('.')).length
  const versionOf = name => `${name}@${manifest.devDependencies[name]}`
  run('validate', app, 'npx', 'topicgate', 'validate', 'fleet')

  const peers = Object.keys(manifest.peerDependencies).filter(name => manifest.devDependencies[name])
  const tools = ['typescript', '@types/node'].map(versionOf)
  run(
    'npm install of the peers',
    app,
    'npm',
    'install',
    '--no-fund',
    '--no-audit',
    ...peers.map(versionOf),
    ...tools,
  )
  const doors = Object.keys(manifest.exports)
    .filter(door => !door.endsWith('.json'))
    .map(door => `topicgate${door.slice(1)}`)
  // The suites of topicgate/testing load only inside of vitest.
  const loadable = doors.filter(door => door !== 'topicgate/testing')
  writeFileSync(join(app, 'load.js'), loadable.map(door => `await import('${door}')\n`).join(''))
  run('importing each entry point', app, process.execPath, 'load.js')
  writeFileSync(
    join(app, 'all.ts'),
    doors.map((door, index) => `export * as door${index} from '${door}'\n`).join(''),
  )
  // As most projects compile, and as the strictest do.
  const modes = [
    { strict: true, skipLibCheck: false },
    {
      strict: true,
      skipLibCheck: false,
      exactOptionalPropertyTypes: true,
      noUncheckedIndexedAccess: true,
      isolatedModules: true,
      verbatimModuleSyntax: true,
    },
  ]
  const compilerOptions = {
    module: 'nodenext',
    target: 'es2022',
    types: ['node'],
    noEmit: true,
  }
  for (const mode of modes) {
    const config = { compilerOptions: { ...compilerOptions, ...mode }, files: ['all.ts'] }
    writeFileSync(join(app, 'tsconfig.json'), JSON.stringify(config))
    // Errors in the declarations of other packages are theirs.
    const { stdout } = spawnSync('npx', ['tsc', '-p', '.'], { cwd: app, encoding: 'utf8' })
    const ours = stdout.split('\n').filter(line => /^(all\.ts|node_modules\/topicgate\/)/.test(line))
    if (ours.length > 0) throw new Error(`the declarations do not compile strictly:\n${ours.join('\n')}`)
  }
  console.log(
    `package: ${(size / 1e6).toFixed(2)} MB, ${entryCount} files, ${installedCount} packages installed; all checks passed`,
  )
} catch (error) {
  process.stderr.write(`check-package: ${error instanceof Error ? error.message : String(error)}\n`)
  process.exitCode = 1
} finally {
  rmSync(folder, { recursive: true, force: true })
}
