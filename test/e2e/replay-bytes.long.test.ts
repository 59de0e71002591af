import { beforeAll, describe, expect, it } from 'vitest'
import { captureOf, generateTraffic, TRAFFIC_POLICY } from '../conformance/generated-traffic.ts'
import { Folder } from '../src/cli/folder.ts'
import { CLI, ensureBuilt } from '../support/built.ts'
import { runNode } from '../support/program.ts'

beforeAll(ensureBuilt, 120_000)

const COUNT = 3_000
const ADAPTIVE = 'adaptive: { levels: { low: 1.5 up to 30%, medium: 1 up to 70%, high: 0.5 } }\n'

async function replay(folder: Folder, args: readonly string[], zone: string | undefined): Promise<string> {
  const files = ['policy.yaml', 'adaptive.yaml'].flatMap(name => ['--policy', `${folder.path}/${name}`])
  const command = [CLI, 'replay', ...files, `${folder.path}/capture.jsonl`, ...args]
  const { code, stdout, stderr } = await runNode(command, { env: { TZ: zone, LANG: 'de_DE.UTF-8' } })
  expect([code, stderr]).toEqual([0, ''])
  return stdout
}

describe('a capture that is replayed again, by another process in another zone,', () => {
  it('gives the same bytes, as JSON and as a table, without load and under it', async () => {
    using folder = new Folder()
    folder.file('policy.yaml', TRAFFIC_POLICY)
    folder.file('adaptive.yaml', ADAPTIVE)
    folder.file('capture.jsonl', captureOf(generateTraffic(43, COUNT)))
    const again = async (args: readonly string[], ...zones: readonly string[]): Promise<string> => {
      const first = await replay(folder, args, undefined)
      for (const zone of zones) expect(await replay(folder, args, zone), zone).toBe(first)
      return first
    }
    // Berlin is the zone of its quota; Kathmandu is off by minutes as well.
    const decided = await again(['--json'], 'Europe/Berlin', 'Asia/Kathmandu', 'Pacific/Kiritimati')
    expect(decided.trimEnd().split('\n')).toHaveLength(COUNT)
    const underLoad = await again(['--json', '--load', '90%'], 'America/St_Johns')
    expect(underLoad.trimEnd().split('\n')).toHaveLength(COUNT)
    expect(underLoad).not.toBe(decided)
    expect(await again([], 'Asia/Kathmandu')).toContain('daily')
  })
})
