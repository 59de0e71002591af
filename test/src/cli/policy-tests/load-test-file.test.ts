import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { runCommand } from '../fake-terminal.ts'
import { Folder } from '../folder.ts'

const STEPS = 'steps: [{ send: { topic: a }, expect: { allowed: 1 } }]'
const READY = 'a ready policy: fleet'

/** Runs a file of tests beside a policy, an overlay, a capture and a folder. */
async function runTests(text: string, env: Readonly<Record<string, string>> = {}) {
  using folder = new Folder()
  folder.file('policy.yaml', 'rules: [{ name: a, limit: 1/s }]')
  folder.file('over.yaml', 'rules: [{ name: a, limit: 2/s }]')
  folder.file('policy.bad.yaml', 'rules: [{ name: a, limit: 2/eon }]')
  for (const name of ['capture.jsonl', 'rotated.7.jsonl']) folder.file(name, '{"at":0,"topic":"a"}\n')
  mkdirSync(join(folder.path, 'sub'))
  const file = folder.file('policy.test.yaml', text.replaceAll('$FOLDER', folder.path))
  const { exitCode, out } = await runCommand(['test', file], { env })
  return { exitCode, lines: out.replaceAll(`${folder.path}/`, '').split('\n').slice(1, -3) }
}

describe('a file that a test file names', () => {
  it.each([
    ['policy: none.yaml', '1:9: policy: none.yaml: there is no such file'],
    ['policy:\n  none.yaml', '2:3: policy: none.yaml: there is no such file'],
    ['policy: sub', '1:9: policy: sub: this is a folder'],
    ['policy: [none.yaml]', '1:10: policy[0]: none.yaml: there is no such file'],
    ['policy: [policy.yaml, none.yaml]', '1:23: policy[1]: none.yaml: there is no such file'],
    ['policy:\n  - policy.yaml\n  - sub', '3:5: policy[1]: sub: this is a folder'],
  ])('"%s" is reported with the place that names it', async (policy, problem) => {
    const { exitCode, lines } = await runTests(`${policy}\ntests: [{ name: a, ${STEPS} }]`)
    expect(lines).toEqual([expect.stringContaining(`policy.test.yaml:${problem} (name a policy file`)])
    expect(lines[0]).toContain(READY)
    expect(exitCode).toBe(1)
  })

  it.each([
    ['none.jsonl', 'there is no such file'],
    ['sub', 'this is a folder'],
    ['-', 'there is no such file'],
  ])('a capture "%s" too, and those of all tests', async (name, problem) => {
    const test = (title: string, capture: string): string =>
      `  - name: ${title}\n    replay: "${capture}"\n    expect: { refused: 0 }\n`
    const { lines } = await runTests(
      `policy: policy.yaml\ntests:\n${test('a', name)}${test('b', 'capture.jsonl')}${test('c', name)}`,
    )
    const remedy = '(name a capture, relative to this file)'
    expect(lines.map(line => line.trim())).toEqual([
      `policy.test.yaml:4:13: tests[0].replay: ${name}: ${problem} ${remedy}`,
      `policy.test.yaml:10:13: tests[2].replay: ${name}: ${problem} ${remedy}`,
    ])
  })

  it('may be a capture of which only later files are left', async () => {
    const { exitCode } = await runTests(
      'policy: policy.yaml\ntests: [{ name: a, replay: rotated.jsonl, expect: { messages: 1 } }]',
    )
    expect(exitCode).toBe(0)
  })

  it('has the place of its own problems', async () => {
    const bad = await runTests(`policy: [policy.yaml, policy.bad.yaml]\ntests: [{ name: a, ${STEPS} }]`)
    expect(bad.lines).toEqual([expect.stringMatching(/^ {2}policy\.bad\.yaml:1:27: rules\[0\]\.limit: /)])
    const overlay = await runTests(`policy: policy.yaml\ntests: [{ name: a, ${STEPS} }]`, {
      TOPICGATE_ENV: 'bad',
    })
    expect(overlay.lines).toEqual(bad.lines)
  })

  it('may be named by its whole path', async () => {
    const { exitCode } = await runTests(
      'policy: [$FOLDER/policy.yaml, over.yaml]\ntests: [{ name: a, replay: $FOLDER/capture.jsonl, expect: { allowed: 1 } }]',
    )
    expect(exitCode).toBe(0)
  })
})

describe('a file of tests', () => {
  it.each([
    ['policy: policy.yaml\npolicy: over.yaml', '2:1: policy: `policy` is given twice, first in line 1'],
    ['policy: policy.yaml\n---\npolicy: a', '2:1: a second document starts here (a file holds one document'],
    ['policy: policy.yaml\n\ttests: []', '2:1: a tab indents this line'],
    ['- policy: policy.yaml', '1:1: a list is not a test file'],
    [
      `policy: policy.yaml\ntests: [{ name: a, <<: {}, ${STEPS} }]`,
      '2:20: tests[0]: unknown key `<<` (merge keys are not read: write the words out)',
    ],
  ])('%j is refused with its place', async (text, problem) => {
    const { exitCode, lines } = await runTests(text)
    expect(lines.join('\n')).toContain(`policy.test.yaml:${problem}`)
    expect(exitCode).toBe(1)
  })

  it.each(['times: 1e9', 'times: 99999999999999999999', 'times: 0', 'times: 1.5'])(
    '%s is reported once',
    async times => {
      const steps = `steps: [{ send: { topic: a, ${times} }, expect: { allowed: 1 } }]`
      const { lines } = await runTests(`policy: policy.yaml\ntests: [{ name: a, ${steps} }]`)
      expect(lines).toEqual([expect.stringContaining(' is not a whole number from 1 to 1000000 (')])
    },
  )

  it.each([
    ['2026-03-29T02:30:00', 'has no zone'],
    ['2026-02-30T00:00:00Z', 'is no day'],
    ['2026-13-01', 'is no month'],
    ['12345-01-01T00:00:00Z', 'has five digits'],
    ['1969-12-31', 'is before 1970'],
    ['March 3, 2026', 'is of another form'],
  ])('a start of %s is refused, which %s', async start => {
    const { lines } = await runTests(`policy: policy.yaml\ntests: [{ name: a, start: "${start}", ${STEPS} }]`)
    expect(lines).toEqual([
      expect.stringContaining(`tests[0].start: "${start}" is not a moment (write it as 2026-01-31T12:00:00Z`),
    ])
  })

  it.each(['2026-03-29', '2026-03-29T02:30Z', '2026-03-29T02:30:00.5+02:00'])(
    'may start at %s',
    async start => {
      const { exitCode } = await runTests(
        `policy: policy.yaml\ntests: [{ name: a, start: ${start}, ${STEPS} }]`,
      )
      expect(exitCode).toBe(0)
    },
  )

  it.each([
    ['{ wait: 4000000d }', 'steps[0]'],
    ['{ wait: 2000000d }, { wait: 2000000d }', 'steps[1]'],
    ['{ send: { topic: a, times: 1000000, every: 365d } }', 'steps[0]'],
  ])('that goes on after the year 9999 with %s is refused', async (steps, path) => {
    const { lines } = await runTests(
      `policy: policy.yaml\ntests: [{ name: a, steps: [${steps}, { send: { topic: a }, expect: { allowed: 1 } }] }]`,
    )
    expect(lines).toEqual([
      expect.stringContaining(`tests[0].${path}: the step ends after the year 9999 (shorten its wait, or`),
    ])
  })

  it('may be in CRLF, with a byte order mark and aliases', async () => {
    const text = `policy: policy.yaml\ntests:\n  - name: a\n    steps:\n      - send: &m { topic: a }\n        expect: { allowed: 1 }\n      - send: *m\n        expect: { refused: 1 }\n`
    const { exitCode } = await runTests(`\uFEFF${text.replaceAll('\n', '\r\n')}`)
    expect(exitCode).toBe(0)
  })

  it('has quotas over months and years, and days that summer time makes shorter and longer', async () => {
    using folder = new Folder()
    folder.file(
      'policy.yaml',
      'rules: [{ name: m, topic: m, quota: 2/month }, { name: d, topic: d, quota: 2/day, zone: Europe/Berlin }]',
    )
    const use = (topic: string, retryAfter: string): string =>
      `{ send: { topic: ${topic}, times: 3 }, expect: { allowed: 2, retryAfter: ${retryAfter} } }`
    const file = folder.file(
      'policy.test.yaml',
      `policy: policy.yaml
tests:
  - { name: months, start: 2026-01-31T00:00:00Z, steps: [${use('m', '24h')}, { wait: 1d }, ${use('m', '28d')}, { wait: 10000d }, ${use('m', '">= 1d"')}] }
  - { name: spring, start: 2026-03-29T00:00:00+01:00, steps: [${use('d', '23h')}, { wait: 23h }, ${use('d', '24h')}] }
  - { name: autumn, start: 2026-10-25T00:00:00+02:00, steps: [${use('d', '25h')}, { wait: 25h }, ${use('d', '24h')}] }
`,
    )
    const { out } = await runCommand(['test', file])
    expect(out).toContain('3 passed, 0 failed')
  })
})
