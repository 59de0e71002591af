import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { beforeAll, describe, expect, it } from 'vitest'
import { readUiFile, UI_FOLDER } from '../../../src/admin/ui-files.ts'
import { ensureBuilt, ROOT } from '../../support/built.ts'

const MAX_BYTES = 45_000
const folder = join(ROOT, UI_FOLDER)

beforeAll(ensureBuilt, 120_000)

const listBuilt = (): readonly string[] =>
  readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter(entry => entry.isFile())
    .map(entry => join(entry.parentPath, entry.name).slice(folder.length + 1))

describe('the built dashboard', () => {
  it('has at most 45 kB, compressed', () => {
    const sizes = listBuilt().map(file => gzipSync(readFileSync(join(folder, file)), { level: 9 }).length)
    expect(sizes.length).toBeGreaterThanOrEqual(4)
    expect(sizes.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThanOrEqual(MAX_BYTES)
  })

  it('has only files that the admin server serves', async () => {
    for (const file of listBuilt()) expect((await readUiFile(file)).status, file).toBe(200)
  })

  it('has a page without inline code or style, whose addresses are relative', () => {
    const page = readFileSync(join(folder, 'index.html'), 'utf8')
    expect(page).not.toMatch(/<style|\sstyle=|<script(?![^>]*\ssrc=)|\son\w+=/i)
    const addresses = [...page.matchAll(/(?:src|href)="([^"]+)"/g)].map(([, address]) => address)
    expect(addresses).toHaveLength(3)
    for (const address of addresses) expect(address).toMatch(/^\.\//)
  })
})
