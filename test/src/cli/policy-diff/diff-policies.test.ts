import { describe, expect, it } from 'vitest'
import { runCommand } from '../fake-terminal.ts'
import { Folder } from '../folder.ts'

const OLD = `version: 1
store: redis://:secret@127.0.0.1
exempt:
  - { name: operators, roles: [admin] }
  - { name: services, apiKeys: [first-secret] }
rules:
  - { name: telemetry, topic: "fleet/#", per: client, limit: 2/s, exceeded: throttle }
  - { name: daily, per: client, quota: 1000/day }
  - { name: gone, limit: 100/s }
  - { name: blocked, topic: "old/#", limit: 1/s, exceeded: drop }
`
const NEW = `version: 1
store: memory
exempt:
  - { name: services, apiKeys: [second-secret] }
rules:
  - { name: telemetry, topic: "fleet/#", per: client, limit: 1/s, exceeded: drop, cost: { bytes: per 4KiB } }
  - { name: per-day, per: client, quota: 1000/day }
  - { name: trial, limit: 5/s, shadow: true }
  - { name: blocked, topic: "old/#", limit: 10/s, exceeded: drop }
`
/** Of c1 the 2nd is newly refused and the 3rd has another outcome; of c2, on old/, the 2nd is newly allowed. */
const CAPTURE = `
{"at": 0, "topic": "fleet/a", "client": "c1"}
{"at": 1, "topic": "fleet/a", "client": "c1"}
{"at": 2, "topic": "fleet/a", "client": "c1"}

{"at": 3, "topic": "old/a", "client": "c2"}
{"at": 4, "topic": "old/a", "client": "c2"}
`

/** Runs diff on files of a folder. */
async function diff(
  old: string,
  now: string,
  args: readonly string[] = [],
  stdin = '',
): ReturnType<typeof runCommand> {
  using folder = new Folder()
  const files = [folder.file('old.yaml', old), folder.file('new.yaml', now)]
  folder.file('capture.jsonl', CAPTURE)
  const { exitCode, out, err } = await runCommand(
    ['diff', ...files, ...args.map(arg => (arg === 'capture.jsonl' ? `${folder.path}/${arg}` : arg))],
    { stdin },
  )
  return { exitCode, out, err: err.replaceAll(`${folder.path}/`, '') }
}

describe('topicgate diff', () => {
  it('says in words what is new, gone, renamed and changed, without secrets', async () => {
    const { exitCode, out } = await diff(OLD, NEW)
    expect(out.split('\n')).toEqual([
      'old.yaml → new.yaml',
      '',
      '- exemption operators: gone: roles [admin]',
      '~ exemption services: apiKeys ["***"] → ["***"]',
      '~ rule telemetry: limit 2/s → 1/s, exceeded throttle → drop, cost none → {bytes: per 4KiB}',
      '~ rule daily: now called per-day; it starts with new counts',
      '- rule gone: gone: limit 100/s',
      '~ rule blocked: limit 1/s → 10/s',
      '+ rule trial: new: limit 5/s, shadow true',
      '~ store redis://:***@127.0.0.1 → memory',
      '',
    ])
    expect(exitCode).toBe(0)
  })

  it('finds no differences in other spacing, and another order', async () => {
    expect((await diff(OLD, OLD.replaceAll(', ', ',   '))).out).toContain('\n\nno differences\n')
    const rules = '- { name: a, limit: 1/s }\n  - { name: b, limit: 1/s }\n'
    const other = '- { name: b, limit: 1/s }\n  - { name: a, limit: 1/s }\n'
    const { out } = await diff(`rules:\n  ${rules}`, `rules:\n  ${other}`)
    expect(out).toContain('\n\n~ rules are in another order, from b on\n')
  })

  it('compares policies of several files with commas between them, which override each other in order', async () => {
    using folder = new Folder()
    const base = folder.file('base.yaml', 'rules: [{ name: a, limit: 1/s }, { name: b, limit: 1/s }]')
    const prod = folder.file('prod.yaml', 'rules: [{ name: a, limit: 2/s }]')
    const next = folder.file('next.yaml', 'rules: [{ name: b, limit: 3/s }]')
    const { out, exitCode } = await runCommand(['diff', `${base},${prod}`, `${base},${prod},${next}`])
    expect(out).toBe(
      'base.yaml + prod.yaml → base.yaml + prod.yaml + next.yaml\n\n~ rule b: limit 1/s → 3/s\n',
    )
    expect(exitCode).toBe(0)
    const missing = await runCommand(['diff', base, `${base},none.yaml`])
    expect([missing.exitCode, missing.err]).toEqual([
      1,
      expect.stringContaining('none.yaml: there is no such file'),
    ])
  })

  it('reads one policy or the capture from the standard input', async () => {
    using folder = new Folder()
    const file = folder.file('policy.yaml', 'rules: [{ name: a, limit: 2/s }]')
    const run = (...args: readonly string[]) =>
      runCommand(['diff', ...args], { stdin: 'rules: [{ name: a, limit: 1/s }]' })
    expect((await run('-', file)).out).toBe('(standard input) → policy.yaml\n\n~ rule a: limit 1/s → 2/s\n')
    expect((await run(file, '-')).out).toContain('~ rule a: limit 2/s → 1/s')
    for (const args of [
      ['-', '-'],
      ['-', file, '--capture', '-'],
      [`${file},-`, '-'],
    ]) {
      const { exitCode, err } = await run(...args)
      expect([exitCode, err]).toEqual([
        2,
        'error: the standard input is read once: name a file in place of one -\n',
      ])
    }
  })

  it('compares nested words one by one', async () => {
    const tiers = (limit: string): string => `tiers: { gold: { limit: ${limit} } }\nrules: []\n`
    expect((await diff(tiers('10/s'), tiers('20/s'))).out).toContain('\n\n~ tiers.gold.limit 10/s → 20/s\n')
  })

  it('counts the messages of a capture that are decided otherwise, by rule and sender', async () => {
    const { exitCode, out } = await diff(OLD, NEW, ['--capture', 'capture.jsonl'])
    expect(exitCode).toBe(0)
    expect(out.split('\n').slice(11)).toEqual([
      '5 messages: 1 newly refused (20.0 %), 1 newly allowed (20.0 %), 1 other outcome (20.0 %), 2 the same',
      '',
      'newly refused by rule  messages  first lines',
      'telemetry                     1            3',
      '',
      'senders newly refused  messages',
      'client c1                     1',
      '',
      'newly allowed by rule  messages  first lines',
      'blocked                       1            7',
      '',
      'senders newly allowed  messages',
      'client c2                     1',
      '',
      'other outcome by rule  messages  first lines',
      'telemetry                     1            4',
      '',
      'senders other outcome  messages',
      'client c1                     1',
      '',
    ])
  })

  it('counts what rules in shadow would refuse, before and after', async () => {
    const policy = (shadow: boolean | string): string =>
      `rules: [{ name: a, per: client, limit: 1/h, shadow: ${shadow} }]`
    const capture = [1, 2, 3].map(at => `{"at":${at},"topic":"t","client":"client-3"}\n`).join('')
    const enforced = await diff(policy(true), policy(false), ['--capture', '-'], capture)
    expect(enforced.out).toContain('3 messages: 2 newly refused')
    expect(enforced.out).toContain('\nrules in shadow would refuse: 2 → 0 messages\n')
    // The SHA-256 of client-3 is above 90 %.
    const partly = await diff(policy('99%'), policy('90%'), ['--capture', '-', '--json'], capture)
    expect(JSON.parse(partly.out)).toMatchObject({ inShadow: { old: 2, new: 0 } })
    expect((await diff(OLD, OLD, ['--capture', '-'], capture)).out).not.toContain('in shadow')
  })

  it('prints JSON, and reads a capture from the standard input', async () => {
    const { out } = await diff(OLD, NEW, ['--json', '--capture', '-'], CAPTURE)
    const { changes, messages, decisions } = JSON.parse(out)
    expect(changes[2]).toEqual({
      kind: 'changed',
      what: 'rule',
      name: 'telemetry',
      words: [
        { word: 'limit', old: '2/s', new: '1/s' },
        { word: 'exceeded', old: 'throttle', new: 'drop' },
        { word: 'cost', new: { bytes: 'per 4KiB' } },
      ],
    })
    expect(out).not.toContain('secret')
    expect(messages).toBe(5)
    expect(decisions['newly-refused']).toEqual({
      count: 1,
      rules: [{ rule: 'telemetry', count: 1, lines: [3] }],
      senders: [{ name: 'client c1', count: 1 }],
    })
  })

  it.each([
    ['newly-refused > 0.1%', 1],
    ['newly-refused > 20%', 0],
    ['newly-refused >= 20%', 1],
    ['newly-refused > 1', 0],
    ['newly-allowed > 0', 1],
    ['other-outcome = 1', 1],
    ['other-outcome > 0%', 1],
  ])('with --fail-on "%s" it exits with %i', async (condition, expected) => {
    const { exitCode, err } = await diff(OLD, NEW, ['--capture', 'capture.jsonl', '--fail-on', condition])
    expect([exitCode, err]).toEqual([expected, expected === 0 ? '' : `failed: ${condition}\n`])
  })

  it.each([['refused > 1'], ['newly-refused'], ['newly-refused > some'], ['newly-refused > 101%']])(
    '--fail-on "%s" is wrong usage',
    async condition => {
      const { exitCode, err } = await diff(OLD, NEW, ['--capture', 'capture.jsonl', '--fail-on', condition])
      expect(exitCode).toBe(2)
      expect(err).toContain('Write "newly-refused > 0.1%"')
    },
  )

  it('needs a capture for --fail-on, and reports broken policies and captures with their place', async () => {
    const without = await diff(OLD, NEW, ['--fail-on', 'newly-refused > 1'])
    expect([without.exitCode, without.err]).toEqual([
      2,
      'error: --fail-on needs decisions: add --capture capture.jsonl\n',
    ])
    const broken = await diff(OLD, 'rules: [{ name: a, limt: 1/s }]')
    expect(broken.exitCode).toBe(1)
    expect(broken.err).toContain('new.yaml:1:20: rules[0]: unknown key `limt`')
    const capture = await diff(OLD, NEW, ['--capture', '-'], '{"at":0,"topic":"a"}\n{')
    expect(capture.exitCode).toBe(1)
    expect(capture.err).toContain('(standard input):2: this is not JSON')
  })

  it('fails if a capture without messages is to meet a condition', async () => {
    const { exitCode, err } = await diff(OLD, OLD, ['--capture', '-', '--fail-on', 'newly-refused > 0'], '\n')
    expect(exitCode).toBe(1)
    expect(err).toBe('error: (standard input): there is no message (record a longer capture)\n')
    expect((await diff(OLD, OLD, ['--capture', '-'], '\n')).exitCode).toBe(0)
  })
})
