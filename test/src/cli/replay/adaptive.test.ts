import { describe, expect, it } from 'vitest'
import { runCommand } from '../fake-terminal.ts'
import { Folder } from '../folder.ts'

const POLICY = 'version: 1\nadaptive: { every: 10s }\nrules:\n  - { name: all, limit: 10/s }\n'
/** Over a minute: more than one interval. */
const CAPTURE = [0, 15_000, 60_000].map(at => `${JSON.stringify({ at, topic: 't' })}\n`).join('')

describe('a policy that adapts, on a virtual clock', () => {
  it.each([
    [[], 10],
    [['--load', '0'], 15],
    [['--load', '50%'], 10],
    [['--load', '0.9'], 5],
  ] as const)(
    'is replayed with %j at a limit of %i throughout, byte for byte the same',
    async (flags, limit) => {
      using folder = new Folder()
      const args = [
        'replay',
        folder.file('p.yaml', POLICY),
        folder.file('c.jsonl', CAPTURE),
        '--json',
        ...flags,
      ]
      const first = await runCommand(args)
      const lines = first.out.trim().split('\n')
      expect(lines.map(line => (JSON.parse(line) as { limit: number }).limit)).toEqual([limit, limit, limit])
      expect((await runCommand(args)).out).toBe(first.out)
    },
  )

  it('is explained with the factor and its reason', async () => {
    using folder = new Folder()
    const policy = folder.file('p.yaml', POLICY)
    const { out } = await runCommand(['explain', policy, '--topic', 't', '--load', '90%'])
    expect(out).toContain('costs 1 of 5, 4 left (x0.5: load high)')
    expect((await runCommand(['explain', policy, '--topic', 't'])).out).toContain('costs 1 of 10, 9 left\n')
    expect((await runCommand(['explain', policy, '--topic', 't', '--load', '101%'])).exitCode).toBe(2)
  })
})
