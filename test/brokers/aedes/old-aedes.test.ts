import { spawnSync } from 'node:child_process'
import { existsSync, mkdirSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { Aedes } from 'aedes'
import { beforeAll, expect, it } from 'vitest'
import { limitBroker } from '../../../brokers/aedes/index.ts'
import { Gate, UnsupportedError } from '../../../src/index.ts'
import { ROOT } from '../../support/built.ts'

const OLD = '0.51.3'
const folder = join(ROOT, 'node_modules/.cache', `aedes-${OLD}`)

// Installed apart and kept: two versions of aedes cannot stand in one folder of packages.
beforeAll(() => {
  if (existsSync(join(folder, 'node_modules/aedes'))) return
  mkdirSync(folder, { recursive: true })
  writeFileSync(join(folder, 'package.json'), JSON.stringify({ private: true }))
  const args = ['install', '--no-fund', '--no-audit', '--silent', `aedes@${OLD}`]
  const { status, stderr } = spawnSync('npm', args, { cwd: folder, encoding: 'utf8' })
  if (status !== 0) throw new Error(`aedes ${OLD} cannot be installed: ${stderr}`)
})

it('a broker of an older aedes is refused by its version', () => {
  const make = createRequire(join(folder, 'package.json'))('aedes') as () => Aedes
  const broker = make()
  expect(() => limitBroker(broker, new Gate())).toThrow(UnsupportedError)
  expect(() => limitBroker(broker, new Gate())).toThrow(
    `limitBroker needs aedes 1.1 or newer, and this broker is aedes ${OLD} (npm install aedes@1)`,
  )
  broker.close()
})
