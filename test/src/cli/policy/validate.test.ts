import { describe, expect, it } from 'vitest'
import { runCommand } from '../fake-terminal.ts'
import { Folder } from '../folder.ts'

const BROKEN = `version: 1
rules:
  - name: a
    limt: 5/s
    limit: 3 parsecs
  - name: a
    limit: 1/s
    exceeded: explode
    per: nobody
`

describe('validate', () => {
  it('counts the rules and exemptions of a sound policy', async () => {
    using folder = new Folder()
    const base = folder.file('base.yaml', 'rules: [{ name: a, limit: 1/s }, { name: b, limit: 2/s }]')
    const over = folder.file(
      'over.yaml',
      'exempt: [{ name: ops, roles: [ops] }]\nrules: [{ name: b, limit: 9/s }]',
    )
    const { exitCode, out, err } = await runCommand(['validate', base, '-p', over])
    expect(out).toBe(
      `ok ${base} + ${over}: 2 rules, 1 exemption, 1 warning (the later file is laid over the earlier; --each checks each)\n`,
    )
    expect(exitCode).toBe(0)
    expect(err).toMatch(/^warning .*: exempt\[0]\.roles: matches no sender/)
  })

  it('shows no control characters of a path', async () => {
    using folder = new Folder()
    const evil = '\u001b[2Jred\u202e.yaml'
    const fine = folder.file(evil, 'rules: [{ name: a, limit: 1/s, per: client }]')
    const broken = folder.file(`x${evil}`, 'rules: [{ name: a, limit: nine }]')
    const { out } = await runCommand(['validate', fine])
    const { err } = await runCommand(['validate', broken])
    const missing = await runCommand(['replay', fine, `${fine}.jsonl`])
    for (const text of [out, err, missing.err]) {
      expect(text).toContain('�[2Jred�.yaml')
      for (const hidden of ['\u001b', '\u202e']) expect(text).not.toContain(hidden)
    }
  })

  it('prints every problem at once, each with its place and remedy', async () => {
    using folder = new Folder()
    const file = folder.file('broken.yaml', BROKEN)
    const { exitCode, out, err } = await runCommand(['validate', file])
    const lines = err.trimEnd().split('\n')
    expect([exitCode, out, lines.length]).toEqual([1, '', 5])
    expect(lines.map(line => line.slice(file.length).split(' ')[0])).toEqual([
      ':4:5:',
      ':5:12:',
      ':6:11:',
      ':8:15:',
      ':9:10:',
    ])
    for (const line of lines) expect(line).toMatch(/: rules\[\d](\.\w+)?: .+ \(.+\)$/)
  })

  it('reads the standard input once, and replay reads no policy from it', async () => {
    const twice = await runCommand(['validate', '-', '-'], { stdin: 'rules: []' })
    expect([twice.exitCode, twice.err]).toEqual([
      2,
      expect.stringContaining('the standard input is read once: name a file in place of one -'),
    ])
    const replayed = await runCommand(['replay', '-', 'capture.jsonl'], { stdin: 'rules: []' })
    expect(replayed.exitCode).toBe(1)
    expect(replayed.err).toContain(
      '-: only validate and diff read a policy from the standard input (name a policy',
    )
  })

  it('exits with 1 for a warning when strict, and reads the standard input', async () => {
    const stdin = 'rules: [{ name: a, topic: "a/{b}", per: b, limit: 1/s }]'
    expect((await runCommand(['validate', '-'], { stdin })).exitCode).toBe(0)
    const { exitCode, out } = await runCommand(['validate', '-', '--strict', '--json'], { stdin })
    const { ok, warnings } = JSON.parse(out) as { ok: boolean; warnings: object[] }
    expect([exitCode, ok]).toEqual([1, true])
    expect(warnings).toMatchObject([{ line: 1, path: 'rules[0].per' }])
  })

  it('checks each file as a policy of its own', async () => {
    using folder = new Folder()
    const sound = folder.file('sound.yaml', 'rules: [{ name: a, limit: 1/s }]')
    const broken = folder.file('broken.yaml', BROKEN)
    const { exitCode, out, err } = await runCommand(['validate', '--each', sound, broken, sound])
    expect([exitCode, out.split('\n').length, err.split('\n').length]).toEqual([1, 3, 6])
    const json = await runCommand(['validate', '--each', '--json', sound, broken])
    expect(JSON.parse(json.out)).toMatchObject([
      { ok: true, files: [sound] },
      { ok: false, files: [broken] },
    ])
    const printed = await runCommand(['validate', '--print', '--json', sound])
    expect(JSON.parse(printed.out)).toEqual({ rules: [{ name: 'a', limit: '1/s' }] })
  })

  it.each([
    ['aedes', 'retry', 'aedes cannot enact "retry" on publish'],
    ['mqtt', 'retry', 'an MQTT consumer cannot enact "retry"'],
    ['nats', 'disconnect', 'NATS cannot enact "disconnect"'],
  ])('warns about what %s cannot enact', async (target, exceeded, warning) => {
    const stdin = `rules: [{ name: a, limit: 1/s, exceeded: ${exceeded} }]`
    const { exitCode, err } = await runCommand(['validate', '-', '--for', target], { stdin })
    expect([exitCode, err]).toEqual([0, expect.stringContaining(warning)])
  })

  it.each([
    ['aedes', undefined],
    ['mqtt', 'an MQTT consumer cannot count connections, which "open" limits'],
    ['nats', 'NATS cannot count connections, which "open" limits'],
  ])('warns if %s cannot count what a rule limits', async (target, warning) => {
    const stdin = 'rules: [{ name: open, connections: 5, per: ip }, { name: rate, per: client, limit: 1/s }]'
    const { exitCode, err } = await runCommand(['validate', '-', '--for', target], { stdin })
    expect([exitCode, err]).toEqual([0, warning === undefined ? '' : expect.stringContaining(warning)])
  })

  it('prints the same for programs', async () => {
    using folder = new Folder()
    const file = folder.file('broken.yaml', BROKEN)
    const { exitCode, out, err } = await runCommand(['validate', file, '--json'])
    const { ok, problems } = JSON.parse(out) as { ok: boolean; problems: object[] }
    expect([exitCode, ok, problems.length, err]).toEqual([1, false, 5, ''])
    expect(problems[0]).toMatchObject({ file, line: 4, column: 5, path: 'rules[0]' })
    const sound = folder.file('sound.yaml', 'rules: [{ name: a, limit: 1/s }]')
    expect(JSON.parse((await runCommand(['validate', sound, '--json'])).out)).toEqual({
      ok: true,
      files: [sound],
      rules: 1,
      exemptions: 0,
      problems: [],
      warnings: [],
    })
  })

  it('prints the merged policy with the environment put in and without its secrets', async () => {
    using folder = new Folder()
    const file = folder.file(
      'policy.yaml',
      `exempt: [{ name: key, apiKeys: [hush] }]\nrules: [{ name: a, limit: "\${RATE:-1/s}" }]`,
    )
    const { exitCode, out, err } = await runCommand(['validate', file, '--print'], { env: { RATE: '7/s' } })
    expect(exitCode).toBe(0)
    expect(out).toContain('limit: 7/s')
    expect(out).not.toContain('hush')
    expect(err).toMatch(/^ok /)
    const asJson = await runCommand(['validate', file, '--print', '--json'])
    expect(JSON.parse(asJson.out)).toMatchObject({ rules: [{ name: 'a', limit: '1/s' }] })
  })

  it('prints the JSON Schema without a policy', async () => {
    const { exitCode, out } = await runCommand(['validate', '--schema'])
    expect(exitCode).toBe(0)
    expect(JSON.parse(out)).toMatchObject({ title: 'topicgate policy', type: 'object' })
  })

  it('tells of every file that is not there', async () => {
    const { exitCode, err } = await runCommand(['validate', 'none.yaml', 'nothing'])
    expect(exitCode).toBe(1)
    expect(err).toContain('none.yaml: there is no such file')
    expect(err).toContain('nothing: there is no such file')
  })

  it('asks for a policy where none is named', async () => {
    const { exitCode, err } = await runCommand(['validate'])
    expect([exitCode, err]).toEqual([2, 'error: no policy was given (topicgate validate policy.yaml)\n'])
  })
})
