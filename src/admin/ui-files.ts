import { readFile, realpath, stat } from 'node:fs/promises'
import { extname, join, sep } from 'node:path'
import { packageFile } from '../core/package-files.ts'
import { AdminProblem } from './problem.ts'

/** Folder of the built dashboard in the package. */
export const UI_FOLDER = 'dist/ui'

const TYPES: Readonly<Record<string, string>> = {
  '.html': 'text/html; charset=utf-8',
  '.js': 'text/javascript; charset=utf-8',
  '.css': 'text/css; charset=utf-8',
  '.json': 'application/json',
  '.svg': 'image/svg+xml',
  '.png': 'image/png',
  '.ico': 'image/x-icon',
  '.woff2': 'font/woff2',
}

/** Names of files whose content never changes: `app-Bx3f09Qa.js`. */
const HASHED = /-[\w-]{8,}\.\w+$/

/** Returns a file of the dashboard, by its path below `/ui/`; the empty path is index.html. Throws AdminProblem. */
export async function readUiFile(path: string, folder = packageFile(UI_FOLDER)): Promise<Response> {
  const name = path === '' ? 'index.html' : path
  const type = TYPES[extname(name)]
  const root = await realpath(folder).catch(() => undefined)
  if (root === undefined) throw new AdminProblem(404, 'the dashboard is not built: run npm run build')
  // A link may lead out of the folder, too.
  const file = name.includes('\0') ? undefined : await realpath(join(root, name)).catch(() => undefined)
  const isInside = file?.startsWith(root + sep) === true
  if (type === undefined || !isInside || !(await stat(file)).isFile())
    throw new AdminProblem(404, 'the dashboard has no such file')
  return new Response(await readFile(file), {
    headers: {
      'content-type': type,
      'cache-control': HASHED.test(name) ? 'public, max-age=31536000, immutable' : 'no-cache',
    },
  })
}
