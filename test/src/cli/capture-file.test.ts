import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { runCommand } from './fake-terminal.ts'
import { Folder } from './folder.ts'

const POLICY = 'rules: [{ name: r, limit: 1/h burst 5, per: client }]'
const LINES = Array.from(
  { length: 20_000 },
  (_, at) => `{"at":${at},"topic":"t/${at % 7}","client":"c${at % 9}"}\n`,
)

interface Setup {
  readonly folder: Folder
  readonly policy: string
  /** Writes a capture and replays it. */
  replay(name: string, content: Buffer | string): Promise<{ exitCode: number; out: string; err: string }>
}

function setUp(): Setup & Disposable {
  const folder = new Folder()
  const policy = folder.file('policy.yaml', POLICY)
  return {
    folder,
    policy,
    replay(name, content) {
      const file = join(folder.path, name)
      writeFileSync(file, content)
      return runCommand(['replay', policy, file])
    },
    [Symbol.dispose]: () => folder[Symbol.dispose](),
  }
}

describe('a capture file', () => {
  it('may be compressed, also in several parts and on the standard input', async () => {
    using scene = setUp()
    const plain = await scene.replay('capture.jsonl', LINES.join(''))
    const parts = [LINES.slice(0, 9_001), LINES.slice(9_001)].map(lines => gzipSync(lines.join('')))
    expect(await scene.replay('capture.jsonl.gz', Buffer.concat(parts))).toEqual(plain)
    const stdin = gzipSync(LINES.join(''))
    expect(await runCommand(['replay', scene.policy, '-'], { stdin })).toEqual(plain)
    expect(plain.out).toContain('20,000 messages over 20s')
  })

  it('that is compressed and cut is refused, with the line, after the messages before it', async () => {
    using scene = setUp()
    const whole = gzipSync(LINES.join(''))
    const { exitCode, err } = await scene.replay('capture.jsonl.gz', whole.subarray(0, whole.length / 2))
    expect(exitCode).toBe(1)
    const [, line, before] = /capture\.jsonl\.gz:(\d+): .*\n([\d,]+) lines were decided/.exec(err) ?? []
    expect(Number(line)).toBeGreaterThan(1_000)
    expect(Number(before?.replaceAll(',', ''))).toBe(Number(line) - 1)
    expect(err).toContain('the gzip data ends early (copy the file again, or record it anew)')
  })

  it('whose compressed bytes are damaged is refused', async () => {
    using scene = setUp()
    const damaged = gzipSync(LINES.join(''))
    damaged.fill(0xff, 20, 60)
    const { exitCode, err } = await scene.replay('capture.jsonl.gz', damaged)
    expect([exitCode, err]).toEqual([
      1,
      expect.stringContaining('jsonl.gz:1: the gzip data is damaged (copy the'),
    ])
  })

  it('of another version is refused, with the place and the remedy', async () => {
    using scene = setUp()
    const { exitCode, err } = await scene.replay('new.jsonl', `{"capture":2}\n${LINES[0]}`)
    expect(exitCode).toBe(1)
    expect(err).toContain(
      'new.jsonl:1: this is a capture of version 2 (this topicgate reads version 1: update it, or record the capture again)',
    )
    expect((await scene.replay('odd.jsonl', '{"capture":"x"}\n')).err).toContain('of an unknown version')
  })

  it('may begin with its version and the share of senders', async () => {
    using scene = setUp()
    const plain = await scene.replay('plain.jsonl', LINES.join(''))
    const described = await scene.replay('described.jsonl', `{"capture":1,"senders":"5%"}\n${LINES.join('')}`)
    expect(described).toEqual(plain)
  })

  it('with lines out of order is decided, and the first such line is named', async () => {
    using scene = setUp()
    const lines = [3, 1, 2, 9].map(at => `{"at":${at},"topic":"t","client":"c"}\n`).join('')
    const note =
      '2 lines were out of order and decided at the latest time before: message 2 is the first (sort the capture by "at")\n'
    expect(await scene.replay('capture.jsonl', lines)).toMatchObject({ exitCode: 0, err: note })
    const capture = join(scene.folder.path, 'capture.jsonl')
    const diff = await runCommand(['diff', scene.policy, scene.policy, '--capture', capture])
    expect(diff).toMatchObject({ exitCode: 0, err: note })
  })
})
