import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { Folder } from '../src/cli/folder.ts'
import { CLI, ensureBuilt } from '../support/built.ts'
import { startCommand } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

const CONFIG = join(import.meta.dirname, '../../config')

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

describe('topicgate as a program', () => {
  it('prints five lines for five mistakes and exits with 1', async () => {
    using folder = new Folder()
    await using command = startCommand('validate', folder.file('broken.yaml', BROKEN))
    expect((await command.ended).code).toBe(1)
    expect(command.stderr.trimEnd().split('\n')).toHaveLength(5)
  })

  it.each(['fleet', 'api-style', 'edge-gateway', 'strict-ingest'])('finds %s.yaml sound', async name => {
    await using command = startCommand('validate', join(CONFIG, `${name}.yaml`))
    expect([(await command.ended).code, command.stderr]).toEqual([0, ''])
  })

  it('runs tests again when the policy appears or changes, until it is ended', async () => {
    using folder = new Folder()
    const policy = (limit: number): string =>
      folder.file('policy.yaml', `rules: [{ name: a, limit: ${limit}/s }]`)
    const test = '{ name: three pass, steps: [{ send: { topic: a, times: 3 }, expect: { refused: 0 } }] }'
    const file = folder.file('policy.test.yaml', `policy: policy.yaml\ntests: [${test}]`)
    await using command = startCommand('test', file, '--watch')
    await command.line(/^0 passed, 0 failed, 1 file could not be run$/)
    policy(3)
    await command.line(/^1 passed, 0 failed$/)
    policy(2)
    await command.line(/^0 passed, 1 failed$/)
    command.signal('SIGTERM')
    expect((await command.ended).code).toBe(0)
  })

  it('replays a capture that fills the pipe more than once', async () => {
    using folder = new Folder()
    const lines = Array.from(
      { length: 50_000 },
      (_, n) => `{"at":${n},"topic":"fleet/s/d${n % 9}/telemetry/t"}\n`,
    )
    const capture = folder.file('capture.jsonl', lines.join(''))
    await using command = startCommand('replay', join(CONFIG, 'fleet.yaml'), capture, '--json')
    expect((await command.ended).code).toBe(0)
    const decisions = command.stdout.trimEnd().split('\n')
    expect(decisions).toHaveLength(50_000)
    expect(JSON.parse(decisions.at(-1) ?? '')).toMatchObject({ at: 49_999, rule: 'client', limit: 250 })
  })

  it('stops quietly when nobody reads on', async () => {
    using folder = new Folder()
    const captured = '{"at":0,"topic":"fleet/s/d/telemetry/t"}\n'
    const capture = folder.file('capture.jsonl', captured.repeat(300_000))
    const line = `"${process.execPath}" "${CLI}" replay "${join(CONFIG, 'fleet.yaml')}" "${capture}" --json | head -n 1`
    const { stdout, stderr } = spawnSync('sh', ['-c', line], { encoding: 'utf8' })
    expect(JSON.parse(stdout)).toMatchObject({ at: 0, rule: 'telemetry' })
    expect(stderr).toBe('')
  })

  it('has the version of the package', async () => {
    const { version } = JSON.parse(readFileSync(join(CONFIG, '../package.json'), 'utf8')) as {
      version: string
    }
    await using command = startCommand('--version')
    expect([(await command.ended).code, command.stdout]).toEqual([0, `${version}\n`])
  })
})
