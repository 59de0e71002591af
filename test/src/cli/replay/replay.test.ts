import { describe, expect, it } from 'vitest'
import { runCommand } from '../fake-terminal.ts'
import { Folder } from '../folder.ts'

const POLICY = `
version: 1
senders: { device: "{topic.device}" }
exempt:
  - name: operators
    roles: [admin]
  - name: urgent
    when: { payload: { field: priority, equals: urgent } }
    limit: 1/min per client
rules:
  - { name: bucket, topic: "bucket/{device}/#", per: device, limit: 2/s burst 3, exceeded: throttle }
  - { name: leaky, topic: "leaky/#", per: client, limit: 2/s, algorithm: leaky-bucket, exceeded: drop }
  - { name: fixed, topic: "fixed/#", limit: 2/s, algorithm: fixed-window }
  - { name: log, topic: "log/#", per: ip, limit: 2/s, algorithm: sliding-log, exceeded: disconnect }
  - { name: counter, topic: "counter/#", limit: 4/s, algorithm: sliding-counter }
  - { name: bytes, topic: "bytes/#", limit: 100/s, cost: bytes }
  - { name: daily, topic: "daily/#", quota: 1/day }
  - { name: trial, topic: "trial/#", limit: 1/s, shadow: true }
  - { name: subs, on: subscribe, per: client, limit: 1/s }
`

type Answer = readonly [
  outcome: string,
  reason: string,
  ...rest: (string | number | null | readonly string[])[],
]
const ok = (rule: string, limit: number, remaining: number): Answer => [
  'deliver',
  'ok',
  rule,
  limit,
  remaining,
  0,
]
const no = (
  outcome: string,
  rule: string,
  limit: number,
  remaining: number,
  waitMs: number | null,
): Answer => [outcome, 'rate_limit_exceeded', ...[rule, limit, remaining, waitMs]]
const exempt: Answer = ['deliver', 'exempt', null, null, null, 0]
const passed: Answer = ['deliver', 'ok', null, null, null, 0]

/** Worked out by hand: what is sent at which millisecond, and the decision. */
const TIMETABLE: readonly (readonly [at: number, topic: string, fields: object, answer: Answer])[] = [
  // Three tokens, one more each 500 ms, for each device.
  [0, 'bucket/d1/t', { client: 'c1' }, ok('bucket', 3, 2)],
  [0, 'bucket/d1/t', { client: 'c1' }, ok('bucket', 3, 1)],
  [0, 'bucket/d2/t', { client: 'c1' }, ok('bucket', 3, 2)],
  [0, 'bucket/d1/t', { client: 'c2' }, ok('bucket', 3, 0)],
  [0, 'bucket/d1/t', { client: 'c1' }, no('throttle', 'bucket', 3, 0, 500)],
  [0, 'bucket/d1/t', { client: 'c1', roles: ['admin'] }, exempt],
  [0, 'bucket/d1/t', { client: 'c1', payload: { priority: 'urgent' } }, exempt],
  // The exemption has a limit of its own.
  [1, 'bucket/d1/t', { client: 'c1', payload: { priority: 'urgent' } }, no('throttle', 'bucket', 3, 0, 499)],
  [499, 'bucket/d1/t', { client: 'c1' }, no('throttle', 'bucket', 3, 0, 1)],
  [500, 'bucket/d1/t', { client: 'c1' }, ok('bucket', 3, 0)],
  [1000, 'leaky/x', { client: 'c1' }, ok('leaky', 2, 0)],
  [1000, 'leaky/x', { client: 'c1' }, no('drop', 'leaky', 2, 0, 500)],
  [1500, 'leaky/x', { client: 'c1' }, ok('leaky', 2, 0)],
  [1500, 'fixed/x', {}, ok('fixed', 2, 1)],
  [1600, 'fixed/x', {}, ok('fixed', 2, 0)],
  [1999, 'fixed/x', {}, no('reject', 'fixed', 2, 0, 1)],
  [2000, 'fixed/x', {}, ok('fixed', 2, 1)],
  [2000, 'log/x', { ip: '10.0.0.1' }, ok('log', 2, 1)],
  [2100, 'log/x', { ip: '10.0.0.1' }, ok('log', 2, 0)],
  // The one of 2000 is free again at 3000.
  [2200, 'log/x', { ip: '10.0.0.1' }, no('disconnect', 'log', 2, 0, 800)],
  [2200, 'log/x', { ip: '10.0.0.2' }, ok('log', 2, 1)],
  [3000, 'counter/x', {}, ok('counter', 4, 3)],
  [3000, 'counter/x', {}, ok('counter', 4, 2)],
  // Half of the two of the window before still counts.
  [4500, 'counter/x', {}, ok('counter', 4, 2)],
  [4500, 'counter/x', {}, ok('counter', 4, 1)],
  [4500, 'counter/x', {}, ok('counter', 4, 0)],
  [4500, 'counter/x', {}, no('reject', 'counter', 4, 0, 500)],
  // More than the rule can ever hold; then the bytes of JSON, and of a text.
  [5000, 'bytes/x', { size: 101 }, no('reject', 'bytes', 100, 100, null)],
  [5000, 'bytes/x', { payload: { a: 'é' } }, ok('bytes', 100, 90)],
  [5000, 'bytes/x', { payload: 'é' }, ok('bytes', 100, 88)],
  [5000, 'daily/x', {}, ok('daily', 1, 0)],
  [5000, 'daily/x', {}, ['reject', 'quota_exceeded', 'daily', 1, 0, 86_395_000]],
  // Time never runs backwards inside a limit, though the line says so.
  [4000, 'daily/x', {}, ['reject', 'quota_exceeded', 'daily', 1, 0, 86_396_000]],
  [5000, 'trial/x', {}, passed],
  [5000, 'trial/x', {}, [...passed, ['trial']]],
  [5000, 'elsewhere', { on: 'subscribe', client: 'c1' }, ok('subs', 1, 0)],
  [5000, 'elsewhere', { on: 'subscribe', client: 'c1' }, no('reject', 'subs', 1, 0, 1000)],
  [5000, 'elsewhere', { client: 'c1' }, passed],
]

const CAPTURE = TIMETABLE.map(([at, topic, fields]) => `${JSON.stringify({ at, topic, ...fields })}\n`).join(
  '',
)

const GOLDEN = TIMETABLE.map(
  ([at, topic, , [outcome, reason, rule, limit, remaining, retryAfterMs, shadow]]) => {
    const allowed = outcome === 'deliver'
    const fields = { at, topic, allowed, outcome, reason, rule, limit, remaining, retryAfterMs, shadow }
    return `${JSON.stringify(fields)}\n`
  },
).join('')

describe('replay --json', () => {
  it('decides every line at its own moment, in the order given', async () => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', POLICY)
    const capture = folder.file('capture.jsonl', CAPTURE)
    const { exitCode, out, err } = await runCommand([
      'replay',
      policy,
      capture,
      '--json',
      '--allow-out-of-order',
    ])
    expect(out).toBe(GOLDEN)
    const note =
      '1 line was out of order and decided at the latest time before: message 33 is the first (sort the capture by "at")\n'
    expect([exitCode, err]).toEqual([0, note])
  })

  it('writes the fields of the format in its order', async () => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', 'rules: [{ name: telemetry, limit: 10/s burst 20 }]')
    const { out } = await runCommand(['replay', policy, '-', '--json'], { stdin: '{"at": 0, "topic": "t"}' })
    expect(out).toBe(
      '{"at":0,"topic":"t","allowed":true,"outcome":"deliver","reason":"ok","rule":"telemetry",' +
        '"limit":20,"remaining":19,"retryAfterMs":0}\n',
    )
  })

  it('gives the same bytes twice, from a file and from the standard input', async () => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', POLICY)
    const many = Array.from(
      { length: 4_000 },
      (_, n) => `{"at": ${n * 7}, "topic": "bucket/d${n % 23}/t", "client": "c${n % 5}"}\n`,
    ).join('')
    const capture = folder.file('capture.jsonl', many)
    const first = await runCommand(['replay', policy, capture, '--json'])
    const second = await runCommand(['replay', policy, '-', '--json'], { stdin: many })
    expect(first.out.split('\n')).toHaveLength(4_001)
    expect(second.out === first.out).toBe(true)
  })

  it('lays later policies over earlier ones', async () => {
    using folder = new Folder()
    const base = folder.file('base.yaml', 'rules: [{ name: all, limit: 10/s }]')
    const over = folder.file('over.yaml', 'rules: [{ name: all, limit: 3/s }]')
    const stdin = '{"at": 0, "topic": "t"}\n'
    const asArguments = await runCommand(['replay', base, over, '-', '--json'], { stdin })
    const asOptions = await runCommand(['replay', '-', '--json', '-p', base, '--policy', over], { stdin })
    expect(JSON.parse(asArguments.out)).toMatchObject({ limit: 3, remaining: 2 })
    expect(asOptions.out).toBe(asArguments.out)
  })

  it('tells the number of a line that cannot be read, after the decisions before it', async () => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', POLICY)
    const stdin =
      '{"at": 0, "topic": "a"}\n\n{"at": 1, "topic": "b"}\n{"at": -1, "topic": "c"}\n{"at": 2, "topic": "d"}\n'
    const { exitCode, out, err } = await runCommand(['replay', policy, '-', '--json'], { stdin })
    expect(exitCode).toBe(1)
    expect(
      out
        .trim()
        .split('\n')
        .map(line => (JSON.parse(line) as { topic: string }).topic),
    ).toEqual(['a', 'b'])
    expect(err).toBe(
      'error: (standard input):4: "at" is -1 (write whole milliseconds since 1970, as 0 or 1700000000000)\n' +
        '2 messages were read before it\n',
    )
  })

  it('tells of a capture that is not there', async () => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', POLICY)
    const { exitCode, err } = await runCommand(['replay', policy, 'missing.jsonl'])
    expect(exitCode).toBe(1)
    expect(err).toContain('missing.jsonl: there is no such file')
  })
})

describe('replay', () => {
  it('refuses a capture in the place of a policy', async () => {
    using folder = new Folder()
    const [one, two] = ['one.jsonl.gz', 'two.jsonl'].map(name => folder.file(name, ''))
    const { exitCode, err } = await runCommand(['replay', folder.file('policy.yaml', POLICY), one!, two!])
    expect(exitCode).toBe(1)
    expect(err).toContain(
      'one.jsonl.gz: this is a capture, not a policy (name one capture, after the policies;',
    )
  })

  it('prints totals by rule and the worst senders', async () => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', POLICY)
    const { exitCode, out } = await runCommand(['replay', policy, '-', '--allow-out-of-order'], {
      stdin: CAPTURE,
    })
    expect(exitCode).toBe(0)
    expect(out).toBe(`38 messages over 5s: 27 allowed, 11 refused (28.9 %)

rule               allowed  throttle  drop  reject  disconnect  in shadow
bucket                   5         3     -       -           -          -
leaky                    2         -     1       -           -          -
fixed                    3         -     -       1           -          -
log                      3         -     -       -           1          -
counter                  5         -     -       1           -          -
bytes                    2         -     -       1           -          -
daily                    1         -     -       2           -          -
trial                    -         -     -       -           -          1
subs                     1         -     -       1           -          -
(no rule)                3         -     -       -           -          -
exempt: operators        1         -     -       -           -          -
exempt: urgent           1         -     -       -           -          -

worst senders  refused
(unnamed)            5
client c1            5
ip 10.0.0.1          1
`)
  })

  it('says so when there was nothing to decide', async () => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', POLICY)
    expect((await runCommand(['replay', policy, '-'])).out).toBe('no messages\n')
  })
})
