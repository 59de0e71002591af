import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { expect, it } from 'vitest'
import { Folder } from '../src/cli/folder.ts'
import { ROOT } from '../support/built.ts'
import { startNode } from '../support/program.ts'

const VITEST = join(ROOT, 'node_modules/vitest/vitest.mjs')

it('NATS consumers pass their tests through a gateway with generous limits', async () => {
  using folder = new Folder()
  const file = folder.file('connections', '')
  const { code, stdout, stderr } = await startNode(
    [VITEST, 'run', '--project', 'servers', 'test/brokers/nats/'],
    {
      env: { TOPICGATE_NATS_GATEWAY: file, TOPICGATE_LONG: undefined },
      timeoutMs: 280_000,
    },
  ).ended
  expect(code, stdout + stderr).toBe(0)
  const connections = readFileSync(file, 'utf8').trim().split('\n').map(Number)
  expect(connections.reduce((sum, count) => sum + count)).toBeGreaterThan(100)
})
