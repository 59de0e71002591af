import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { packageFile } from '../../../../src/core/package-files.ts'
import { loadPolicy } from '../../../../src/policy/index.ts'
import { runCommand } from '../fake-terminal.ts'
import { Folder } from '../folder.ts'

const POLICY = `version: 1
senders: { device: "{topic.device}" }
tiers:
  gold: { limit: 1000/s }
exempt:
  - { name: operators, roles: [admin] }
  - { topics: ["free/#"] }
rules:
  - { name: telemetry, topic: "fleet/{device}/#", per: device, limit: 10/s burst 20, exceeded: throttle }
  - { name: daily, per: client, quota: 1000/day }
  - { name: trial, topic: "fleet/#", per: client, limit: 5/s, shadow: true }
  - { name: off, limit: 1/s, enabled: false }
`

/** Runs the tests of a text beside a policy and a capture. */
async function runTests(tests: string, ...args: string[]): ReturnType<typeof runCommand> {
  using folder = new Folder()
  folder.file('policy.yaml', POLICY)
  folder.file(
    'capture.jsonl',
    Array.from({ length: 30 }, (_, n) => `{"at":${n},"topic":"fleet/d7/t","client":"c${n % 2}"}\n`).join(''),
  )
  folder.file('broken.jsonl', '{"at":0,"topic":"a"}\n{"at":')
  const file = folder.file('policy.test.yaml', `policy: policy.yaml\ntests:\n${tests}`)
  const { exitCode, out, err } = await runCommand(['test', file, ...args])
  return { exitCode, out: out.replaceAll(`${folder.path}/`, ''), err }
}

describe('topicgate test', () => {
  it('passes where the policy does what is expected', async () => {
    const { exitCode, out } = await runTests(`
  - name: a device may burst twenty, then ten a second
    start: 2026-01-31T12:00:00Z
    steps:
      - send: { topic: fleet/d7/t, client: d7, size: 120, times: 25, every: 1ms }
        expect: { allowed: 20, refused: 5, by: telemetry, outcome: throttle, reason: rate_limit_exceeded, retryAfter: "<= 100ms", shadow: { trial: 20 } }
      - wait: 1s
      - send: { topic: fleet/d7/t, client: d7, times: 11 }
        expect: { allowed: 10, refused: 1, retryAfter: 76ms }
    expect: { messages: 36, refusedShare: "<= 17%", senders: { "client:d7": { refused: 6 }, "device:d7": { allowed: 30 }, "ip:192.0.2.1": { refused: 0 } } }
  - name: operators pass
    steps:
      - send: { topic: fleet/d7/t, roles: [admin], times: 30 }
        expect: { outcome: deliver, exemption: operators, reason: exempt }
      - send: { topic: fleet/d7/t, times: 25 }
        expect: { exemption: none, refused: 5 }
    expect: { exemptions: { operators: 30 } }
  - name: numbers make senders and topics
    steps:
      - send: { topic: "fleet/d{n}/t", client: "c{n}", times: 30 }
        expect: { refused: 0 }
  - name: yesterday is refused in part
    replay: capture.jsonl
    expect: { refused: 10, rules: { telemetry: { refused: 10 }, daily: { refused: 0 } }, senders: { "client:c0": { refused: 5 } } }
`)
    expect(out).toBe(
      [
        'policy.test.yaml',
        '  ok    a device may burst twenty, then ten a second',
        '  ok    operators pass',
        '  ok    numbers make senders and topics',
        '  ok    yesterday is refused in part',
        '',
        '4 passed, 0 failed',
        '',
      ].join('\n'),
    )
    expect(exitCode).toBe(0)
  })

  it('shows place, expected, seen and the explanation of the first wrong message', async () => {
    const { exitCode, out } = await runTests(`
  - name: wrong
    steps:
      - send: { topic: fleet/d7/t, client: d7, times: 25 }
        expect: { allowed: 22 }
`)
    expect(exitCode).toBe(1)
    const lines = out.split('\n')
    expect(lines.slice(1, 5)).toEqual([
      '  FAIL  wrong',
      '        policy.test.yaml:7:19: tests[0].steps[0].expect.allowed: expected 22, seen 20',
      '        message 21 of the test is the first that was decided otherwise:',
      '          fleet/d7/t  publish, 0 bytes, qos 0, at 2026-01-01T00:00:00.000Z',
    ])
    expect(out).toContain('no   telemetry: token-bucket per device=d7: costs 1 of 20, 0 left, again in 100ms')
    expect(lines.at(-2)).toBe('0 passed, 1 failed')
  })

  it.each([
    ['expect: { refused: 3 }', 'refused: expected 3, seen 5', 24],
    ['expect: { refused: "> 6" }', 'refused: expected > 6, seen 5', 19],
    ['expect: { by: daily }', 'by: expected daily, seen telemetry', 21],
    ['expect: { outcome: drop }', 'outcome: expected drop, seen throttle', 21],
    ['expect: { outcome: deliver }', 'outcome: expected deliver, seen deliver 20×, throttle 5×', 21],
    ['expect: { reason: banned }', 'reason: expected banned, seen rate_limit_exceeded', 21],
    ['expect: { retryAfter: ">= 1s" }', 'retryAfter: expected >= 1s, seen 100ms', 21],
    ['expect: { retryAfter: 99ms }', 'retryAfter: expected 99ms, seen 100ms', 21],
    ['expect: { retryAfter: never }', 'retryAfter: expected never, seen 100ms', 21],
    ['expect: { exemption: operators }', 'exemption: expected operators, seen none', 1],
    ['expect: { shadow: { trial: 3 } }', 'shadow["trial"]: expected 3, seen 20', 9],
  ])('%s is not met', async (expectation, message, first) => {
    const { exitCode, out } = await runTests(`
  - name: wrong
    steps:
      - send: { topic: fleet/d7/t, client: d7, times: 25 }
        ${expectation}
`)
    expect(exitCode).toBe(1)
    expect(out).toContain(`tests[0].steps[0].expect.${message}\n`)
    expect(out).toContain(`message ${first} of the test is the first`)
  })

  it.each([
    ['{ messages: 29 }', 'messages: expected 29, seen 30', undefined],
    ['{ refusedShare: "< 0.1%" }', 'refusedShare: expected < 0.1%, seen 33.3% (10 of 30)', 21],
    ['{ refused: 0 }', 'refused: expected 0, seen 10', 21],
    [
      '{ rules: { telemetry: { refused: 11 } } }',
      'rules["telemetry"].refused: expected 11, seen 10',
      undefined,
    ],
    ['{ rules: { trial: { shadow: 1 } } }', 'rules["trial"].shadow: expected 1, seen 20', undefined],
    [
      '{ senders: { "client:c1": { allowed: 15 } } }',
      'senders["client:c1"].allowed: expected 15, seen 10',
      22,
    ],
    ['{ exemptions: { operators: 1 } }', 'exemptions["operators"]: expected 1, seen 0', undefined],
  ])('%s of a replay is not met', async (expectation, message, first) => {
    const { exitCode, out } = await runTests(`
  - name: wrong
    replay: capture.jsonl
    expect: ${expectation}
`)
    expect(exitCode).toBe(1)
    expect(out).toContain(`tests[0].expect.${message}\n`)
    if (first === undefined) expect(out).not.toContain('is the first')
    else expect(out).toContain(`message ${first} of the test is the first`)
  })

  it('starts with what is given, each test anew', async () => {
    const { out, exitCode } = await runTests(`
  - name: a ban and its end
    given: { bans: [{ client: c1, outcome: disconnect, for: 1m }], overrides: [{ client: c2, limit: x2 }], tiers: [{ client: c3, tier: gold }], exemptions: [{ name: friends, clients: [c4] }], load: 80% }
    steps:
      - send: { topic: fleet/d1/t, client: c1 }
        expect: { refused: 1, outcome: disconnect, reason: banned, by: daily }
      - wait: 1m
      - send: { topic: fleet/d1/t, client: c1 }
        expect: { refused: 0 }
      - send: { topic: fleet/d2/t, client: c2, times: 41 }
        expect: { allowed: 40 }
      - send: { topic: fleet/d3/t, client: c4, times: 41 }
        expect: { allowed: 41 }
  - name: nothing is given here
    steps:
      - send: { topic: fleet/d1/t, client: c1, times: 20 }
        expect: { refused: 0 }
`)
    // A ban is of no rule.
    expect(out).toContain('tests[0].steps[0].expect.by: expected daily, seen banned\n')
    expect(out.match(/expected/g)).toHaveLength(1)
    expect([exitCode, out.includes('ok    nothing is given here')]).toEqual([1, true])
  })

  it('reports results of handlers, which open a breaker', async () => {
    using folder = new Folder()
    folder.file(
      'policy.yaml',
      'rules: [{ name: a, limit: 1000/s }]\nbreaker: { failures: 50%, least: 5, open: 10s, exceeded: drop }\n',
    )
    const test = (results: number, refused: number): string => `
  - name: after ${results} failures
    steps:
      - send: { topic: a, client: c1 }
      - handled: { ok: false, took: 300ms, times: ${results} }
      - send: { topic: a, client: c1 }
        expect: { refused: ${refused}${refused > 0 ? ', by: breaker' : ''} }
`
    const file = folder.file('t.yaml', `policy: policy.yaml\ntests:${test(5, 0)}${test(6, 1)}`)
    const { out } = await runCommand(['test', file, '--coverage'])
    expect(out).toContain('2 passed, 0 failed')
    expect(out).toContain('1 of 2 rules and exemptions decided a message\n  no test is refused by rule a\n')
  })

  it('counts every message of a send as one of its own', async () => {
    using folder = new Folder()
    folder.file('policy.yaml', 'penalties: { block: 1m, flapping: 5 connects in 10s }\nrules: []\n')
    const send = (client: string): string =>
      `{ send: { on: connect, client: ${client}, times: 6 }, expect: { allowed: 4, reason: banned } }`
    const file = folder.file(
      't.yaml',
      `policy: policy.yaml\ntests: [{ name: a, steps: [${send('c1')}, ${send('c2')}] }]`,
    )
    expect((await runCommand(['test', file])).out).toContain('1 passed, 0 failed')
  })

  it('lists rules and exemptions that no test decided by', async () => {
    const tests = `
  - name: telemetry
    steps:
      - send: { topic: fleet/d7/t, client: d7, times: 25 }
        expect: { refused: 5 }
`
    expect((await runTests(tests, '--coverage')).out).toContain(
      [
        '1 passed, 0 failed',
        '',
        'policy.yaml: 2 of 6 rules and exemptions decided a message',
        '  no test is refused by rule daily',
        '  no test is refused by rule tier:gold',
        '  no test passes by exemption operators',
        '  no test passes by exemption exempt[1]',
        '',
      ].join('\n'),
    )
    const { coverage } = JSON.parse((await runTests(tests, '--coverage', '--json')).out)
    expect(coverage).toMatchObject([
      { covered: 2, total: 6, rules: ['daily', 'tier:gold'], exemptions: ['operators', 'exempt[1]'] },
    ])
  })

  it('prints JSON, and JUnit XML with nothing that XML forbids', async () => {
    using folder = new Folder()
    const junit = join(folder.path, 'reports', 'junit.xml')
    const tests = `
  - name: "fine <&\\"\\x07\\uFFFE\\uFFFF"
    steps:
      - send: { topic: a }
        expect: { allowed: 1 }
  - name: wrong
    steps:
      - send: { topic: a }
        expect: { allowed: "< 1" }
`
    const { out, exitCode } = await runTests(tests, '--json', '--junit', junit)
    expect(exitCode).toBe(1)
    const { passed, failed, broken, files } = JSON.parse(out)
    expect({ passed, failed, broken }).toEqual({ passed: 1, failed: 1, broken: 0 })
    expect(files[0].tests.map(({ line, ok }: { line: number; ok: boolean }) => [line, ok])).toEqual([
      [4, true],
      [8, false],
    ])
    expect(files[0].tests[1].failures).toMatchObject([{ line: 11, column: 19, expected: '< 1', seen: '1' }])
    const xml = readFileSync(junit, 'utf8')
    const totals = 'tests="2" failures="1" errors="0" time="\\d+\\.\\d{3}">'
    expect(xml).toMatch(new RegExp(`<testsuites name="topicgate test" ${totals}`))
    expect(xml).toMatch(new RegExp(`<testsuite name="[^"]+" ${totals}`))
    expect(xml.match(/<testcase [^>]* time="\d+\.\d{3}"/g)).toHaveLength(2)
    expect(xml).toContain('<failure type="expectation" message="')
    expect(xml).toContain('name="fine &lt;&amp;&quot;���" file="')
    expect(xml).toContain('tests[1].steps[0].expect.allowed: expected &lt; 1, seen 1">')
    expect([...xml].filter(char => char < ' ' && char !== '\n')).toEqual([])
  })

  it('writes JUnit XML with the place of a file that cannot be run', async () => {
    using folder = new Folder()
    const junit = join(folder.path, 'junit.xml')
    const broken = folder.file('broken.yaml', 'rules: []\nrulez: []\n')
    const test = '{ name: a, steps: [{ send: { topic: a }, expect: { allowed: 1 } }] }'
    const files = [
      folder.file('form.yaml', 'policy: fleet\n\ntests: some\n'),
      folder.file('policy.yaml', `policy: broken.yaml\ntests: [${test}]`),
      folder.file(
        'missing.yaml',
        `policy: fleet\ntests:\n  - { name: a, replay: none, expect: { refused: 0 } }`,
      ),
    ]
    await runCommand(['test', ...files, '--junit', junit])
    const cases = readFileSync(junit, 'utf8').match(/<testcase [^>]*>/g)
    const errorCase = (suite: string, file: string, line: number): string =>
      `<testcase classname="${suite}" name="loads" file="${file}" line="${line}" time="0.000">`
    expect(cases).toEqual([
      errorCase(files[0]!, files[0]!, 3),
      errorCase(files[1]!, broken, 2),
      errorCase(files[2]!, files[2]!, 3),
    ])
  })

  it('refuses a capture without messages', async () => {
    using folder = new Folder()
    folder.file('empty.jsonl', '{"capture":1}\n')
    const test = '{ name: a, replay: empty.jsonl, expect: { refused: 0 } }'
    const file = folder.file('a.test.yaml', `policy: fleet\ntests: [${test}]`)
    const { exitCode, out } = await runCommand(['test', file])
    expect(exitCode).toBe(1)
    expect(out).toContain('a.test.yaml:2:28: tests[0].replay: ')
    expect(out).toContain('empty.jsonl: there is no message (record a longer capture)')
  })

  it('reports every mistake of a file with its place and remedy', async () => {
    const { exitCode, out } = await runTests(`
  - name: x
    stepps: []
    steps:
      - sned: { topic: a }
      - send: { topic: a, count: 3, size: 10XB }
        expect: { alowed: 2, allowed: some, outcome: dropp }
      - handled: { ok: yes }
`)
    expect(exitCode).toBe(1)
    expect(out.split('\n')).toEqual([
      'policy.test.yaml',
      '  policy.test.yaml:5:5: tests[0]: unknown key `stepps` (did you mean steps?)',
      '  policy.test.yaml:7:9: tests[0].steps[0]: unknown key `sned` (did you mean send?)',
      '  policy.test.yaml:8:27: tests[0].steps[1].send: unknown key `count` (use `times`)',
      '  policy.test.yaml:8:43: tests[0].steps[1].send.size: "10XB" is not a number of bytes (write a whole number of bytes, or 10kB)',
      '  policy.test.yaml:9:19: tests[0].steps[1].expect: unknown key `alowed` (did you mean allowed?)',
      '  policy.test.yaml:9:39: tests[0].steps[1].expect.allowed: "some" is not a count (write a whole number, or "<= 10")',
      expect.stringContaining('"dropp" is not an outcome (did you mean drop? '),
      '  policy.test.yaml:10:24: tests[0].steps[2].handled.ok: "yes" is not true or false (write true or false, without quotes)',
      '',
      '0 passed, 0 failed, 1 file could not be run',
      '',
    ])
  })

  it.each([
    ['steps: [{ send: { topic: a } }]', 'tests[0]: the test expects nothing (add expect: { refused: 0 })'],
    ['expect: { refused: 0 }', 'tests[0]: the test has no steps (write steps, or replay'],
    ['{ replay: c, steps: [], expect: { refused: 0 } }', 'tests[0]: the test has both steps and replay'],
    ['steps: [{ send: { topic: a }, wait: 1s, expect: { refused: 0 } }]', 'the step has send and wait'],
    ['steps: [{ wait: 1s, expect: { refused: 0 } }]', 'there is nothing to expect (move it to a send)'],
    ['steps: [{ send: { client: a }, expect: { refused: 0 } }]', '`topic` is missing (write topic: a/b)'],
    [
      'steps: [{ handled: {} }, { send: { topic: a }, expect: { refused: 0 } }]',
      'no message was sent before it',
    ],
    ['steps: [{ send: { topic: a }, expect: { by: dayly } }]', 'no rule "dayly" (did you mean daily?)'],
    [
      'steps: [{ send: { topic: a }, expect: { shadow: { off: 1 } } }]',
      'no rule "off" (use one of telemetry',
    ],
    ['steps: [{ send: { topic: a }, expect: { exemption: op } }]', 'no exemption "op" (use one of operators'],
    ['{ replay: c, expect: { rules: { a: { refused: 0 } } } }', 'no rule "a"'],
    ['{ replay: c, expect: { senders: { d7: { refused: 0 } } } }', '"d7" is not a sender (write its part'],
    ['{ replay: nowhere, expect: { refused: 0 } }', 'nowhere: there is no such file'],
    ['{ replay: broken.jsonl, expect: { refused: 0 } }', 'broken.jsonl:2: this is not JSON'],
    [
      '{ given: { bans: [{ clientt: c }] }, replay: capture.jsonl, expect: { refused: 0 } }',
      'policy.test.yaml:4:23: tests[0].given.bans[0]: there is no option `clientt` (did you mean `client`?)',
    ],
  ])('%s is refused', async (body, message) => {
    const words = body.startsWith('{') ? body.slice(1, -1).split(/, (?=steps|replay|expect)/) : [body]
    const { exitCode, out } = await runTests(
      `  - name: x\n${words.map(word => `    ${word.trim()}\n`).join('')}`,
    )
    expect(out).toContain(message)
    expect(out).toContain('policy.test.yaml:')
    expect(exitCode).toBe(1)
  })

  it('refuses an empty file, a missing policy and a name used twice, and runs the other files', async () => {
    using folder = new Folder()
    folder.file('policy.yaml', POLICY)
    const test = '{ name: a, steps: [{ send: { topic: a }, expect: { allowed: 1 } }] }'
    const files = [
      folder.file('empty.yaml', '# nothing\n\n'),
      folder.file('missing.yaml', `policy: nowhere.yaml\ntests: [${test}]`),
      folder.file('twice.yaml', `policy: policy.yaml\ntests: [${test}, ${test}]`),
      folder.file(
        'fine.json',
        JSON.stringify({
          policy: ['policy.yaml'],
          tests: [{ name: 'b', steps: [{ send: { topic: 'a' }, expect: { allowed: 1 } }] }],
        }),
      ),
      folder.file('ready.yaml', `policy: fleet\ntests: [${test}]`),
    ]
    const { exitCode, out } = await runCommand(['test', ...files])
    expect(exitCode).toBe(1)
    expect(out).toContain(
      'empty.yaml: the test file is empty (see the words of a test file in docs/rollout.md)',
    )
    expect(out).toContain('nowhere.yaml: there is no such file')
    expect(out).toContain('tests[1].name: the name "a" is used twice (give each test its own name)')
    expect(out).toContain('2 passed, 0 failed, 3 files could not be run')
  })
})

const SHIPPED = readdirSync(packageFile('config/tests'))

it('every ready policy has a file of tests', () => {
  const policies = readdirSync(packageFile('config')).filter(name => name.endsWith('.yaml'))
  expect(SHIPPED).toEqual(policies.map(name => name.replace('.yaml', '.test.yaml')))
})

it.each(SHIPPED)('config/tests/%s passes and covers its policy', async name => {
  const { exitCode, out } = await runCommand([
    'test',
    packageFile(`config/tests/${name}`),
    '--coverage',
    '--json',
  ])
  const { failed, broken, coverage } = JSON.parse(out)
  expect({ exitCode, failed, broken }).toEqual({ exitCode: 0, failed: 0, broken: 0 })
  expect(coverage).toMatchObject([{ rules: [], exemptions: [] }])
})

interface WrittenTests {
  readonly tests: readonly {
    readonly steps: readonly { readonly expect?: Readonly<Record<string, unknown>> }[]
  }[]
}

it.each(SHIPPED)(
  'config/tests/%s has outcome and wait of every rule, and the end of every exemption',
  async name => {
    const { document } = await loadPolicy(packageFile(`config/${name.replace('.test', '')}`), { env: {} })
    const { tests } = parse(readFileSync(packageFile(`config/tests/${name}`), 'utf8')) as WrittenTests
    const expected = tests.map(({ steps }) =>
      steps.flatMap(({ expect }) => (expect === undefined ? [] : [expect])),
    )
    const hasNumbers = (rule: string): boolean =>
      expected.flat().some(({ by, outcome, retryAfter }) => by === rule && Boolean(outcome && retryAfter))
    const hasEnd = (exemption: string): boolean =>
      expected.some(each => {
        const passes = each.findIndex(step => step.exemption === exemption)
        return (
          passes >= 0 && each.slice(passes).some(step => step.exemption === 'none' || step.by !== undefined)
        )
      })
    const rules = (document.rules ?? []).filter(({ shadow }) => shadow === undefined)
    expect(rules.map(rule => rule.name).filter(rule => !hasNumbers(rule))).toEqual([])
    expect((document.exempt ?? []).filter(each => !hasEnd(each.name ?? ''))).toEqual([])
  },
)
