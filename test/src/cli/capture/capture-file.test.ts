import { rmSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { gzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { runCommand } from '../fake-terminal.ts'
import { Folder } from '../folder.ts'

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

  it('is read with the files that follow it, in the order of their numbers, also if the first ones are gone', async () => {
    using scene = setUp()
    const plain = await scene.replay('all.jsonl', LINES.slice(0, 12_000).join(''))
    for (let number = 2; number <= 11; number++)
      scene.folder.file(`day.${number}.jsonl`, LINES.slice((number - 1) * 1_000, number * 1_000).join(''))
    scene.folder.file('day.12.jsonl', LINES.slice(11_000, 12_000).join(''))
    scene.folder.file('day.old.jsonl', 'not one of them')
    expect(await scene.replay('day.jsonl', LINES.slice(0, 1_000).join(''))).toEqual(plain)
    rmSync(join(scene.folder.path, 'day.jsonl'))
    const later = await runCommand(['replay', scene.policy, join(scene.folder.path, 'day.jsonl')])
    expect(later.out).toContain('11,000 messages over 11s')
    const one = await runCommand(['replay', scene.policy, join(scene.folder.path, 'day.3.jsonl')])
    expect(one.out).toContain('1,000 messages over')
  })

  it('of several files is refused with the name and the line of the file that is wrong', async () => {
    using scene = setUp()
    scene.folder.file('day.2.jsonl', `${LINES[9]}${LINES[3]}`)
    const { exitCode, err } = await scene.replay('day.jsonl', LINES.slice(0, 9).join(''))
    expect(exitCode).toBe(1)
    expect(err).toMatch(/day\.2\.jsonl:2: .*\n10 messages were read before it/)
  })

  it('of several files has lines that are counted as one', async () => {
    using scene = setUp()
    scene.folder.file('day.2.jsonl', LINES.slice(10, 20).join(''))
    const capture = scene.folder.file('day.jsonl', LINES.slice(0, 10).join(''))
    const none = scene.folder.file(
      'none.yaml',
      'rules: [{ name: r, limit: 1/h, topic: t/4, per: client, cost: 2 }]',
    )
    const all = scene.folder.file('all.yaml', 'rules: []')
    const { out } = await runCommand(['diff', all, none, '--capture', capture])
    expect(out).toMatch(/r +3 +5 12 19/)
  })

  it('that is compressed and cut is refused, with the line, after the messages before it', async () => {
    using scene = setUp()
    const whole = gzipSync(LINES.join(''))
    const { exitCode, err } = await scene.replay('capture.jsonl.gz', whole.subarray(0, whole.length / 2))
    expect(exitCode).toBe(1)
    const [, line, before] = /capture\.jsonl\.gz:(\d+): .*\n([\d,]+) messages were read/.exec(err) ?? []
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

  it('with lines out of order is decided on request, and the first such line is named', async () => {
    using scene = setUp()
    const lines = [3, 1, 2, 9].map(at => `{"at":${at},"topic":"t","client":"c"}\n`).join('')
    const capture = scene.folder.file('capture.jsonl', lines)
    const note =
      '2 lines were out of order and decided at the latest time before: message 2 is the first (sort the capture by "at")\n'
    const { policy } = scene
    const replayed = await runCommand(['replay', policy, capture, '--allow-out-of-order'])
    expect(replayed).toMatchObject({ exitCode: 0, err: note })
    const diff = await runCommand(['diff', policy, policy, '--capture', capture, '--allow-out-of-order'])
    expect(diff).toMatchObject({ exitCode: 0, err: note })
    const suggested = await runCommand(['suggest', capture, '--allow-out-of-order'])
    expect(suggested).toMatchObject({ exitCode: 0, err: note })
    const topic = ['--topic', 't', '--after', capture, '--allow-out-of-order']
    expect(await runCommand(['explain', policy, ...topic])).toMatchObject({ exitCode: 0, err: note })
  })
})

const WHOLE = LINES.slice(0, 2_000).join('')
const COMPRESSED = gzipSync(WHOLE)

/** Captures that cannot be used: content, line, and problem with its remedy. */
const UNUSABLE: Readonly<Record<string, readonly [Buffer | string, string, string]>> = {
  'is compressed and cut': [
    COMPRESSED.subarray(0, COMPRESSED.length / 2),
    '[1-9]\\d*',
    'the gzip data ends early (copy the file again, or record it anew)',
  ],
  'is out of order': [
    '{"at":5000,"topic":"t"}\n{"at":7000,"topic":"t"}\n{"at":6500,"topic":"t"}\n',
    '3',
    'the line is 500ms earlier than one before it (sort the capture by "at")',
  ],
  'has another version': [
    `{"capture":2}\n${WHOLE}`,
    '1',
    'this is a capture of version 2 (this topicgate reads version 1: update it, or record the capture again)',
  ],
  'ends within a line': [WHOLE.slice(0, -5), '2000', 'this is not JSON'],
  'has a field of another type': [`{"at":0,"topic":7}\n${WHOLE}`, '1', '"topic" is 7 (write a text)'],
}

const COMMANDS: Readonly<Record<string, (policy: string, capture: string) => readonly string[]>> = {
  replay: (policy, capture) => ['replay', policy, capture],
  suggest: (_, capture) => ['suggest', capture],
  diff: (policy, capture) => ['diff', policy, policy, '--capture', capture],
  explain: (policy, capture) => ['explain', policy, '--topic', 't', '--after', capture],
  test: policy => ['test', join(dirname(policy), 'policy.test.yaml')],
}

describe.each(Object.entries(UNUSABLE))('a capture that %s', (_, [content, line, problem]) => {
  it.each(Object.entries(COMMANDS))('ends %s with its place, the remedy and exit code 1', async (_, args) => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', POLICY)
    const capture = folder.file('day.jsonl', content)
    folder.file(
      'policy.test.yaml',
      'policy: policy.yaml\ntests: [{ name: day, replay: day.jsonl, expect: { refused: 0 } }]',
    )
    const { exitCode, out, err } = await runCommand(args(policy, capture))
    expect(exitCode).toBe(1)
    const [, seenLine, seen = ''] = /day\.jsonl:(\d+): (.*)/.exec(out + err) ?? []
    expect(seenLine).toMatch(new RegExp(`^${line}$`))
    expect(seen).toContain(problem)
  })
})

const FLEET = 'fleet: [{ name: a, topic: a, send: { every: 1s } }]'
const TESTS =
  'policy: policy.yaml\ntests: [{ name: a, steps: [{ send: { topic: a }, expect: { refused: 0 } }] }]'

/** Files with an unknown word: name, content, place, and the word to write. */
const UNKNOWN_WORDS: Readonly<Record<string, readonly [string, string, string, string]>> = {
  policy: ['policy.yaml', POLICY.replace('per', 'pre'), '1:40', 'did you mean per?'],
  fleet: ['fleet.yaml', FLEET.replace('topic', 'tpoic'), '1:20', 'did you mean topic?'],
  test: ['policy.test.yaml', TESTS.replace('refused', 'refusd'), '2:60', 'did you mean refused?'],
}

describe.each([
  ['replay', 'policy'],
  ['diff', 'policy'],
  ['explain', 'policy'],
  ['test', 'policy'],
  ['test', 'test'],
  ['simulate', 'policy'],
  ['simulate', 'fleet'],
] as const)('%s', (command, kind) => {
  it(`ends at an unknown word of its ${kind} with the place, the remedy and exit code 1`, async () => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', POLICY)
    const fleet = folder.file('fleet.yaml', FLEET)
    const capture = folder.file('day.jsonl', WHOLE)
    folder.file('policy.test.yaml', TESTS)
    const [name, content, place, remedy] = UNKNOWN_WORDS[kind]!
    folder.file(name, content)
    const args = COMMANDS[command]?.(policy, capture) ?? ['simulate', fleet, '--policy', policy]
    const { exitCode, out, err } = await runCommand(args)
    expect(exitCode).toBe(1)
    expect(out + err).toContain(`${name}:${place}: `)
    expect(out + err).toContain(remedy)
  })
})
