import { mkdtempSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  checkNodeVersion,
  checkPolicyWarnings,
  checkRules,
  checkStoreHealth,
} from '../../../../src/cli/admin/doctor.ts'
import { createSender } from '../../../../src/index.ts'
import { type AdminScene, openAdminScene, POLICY } from '../../admin/admin-scene.ts'
import { runCommand } from '../fake-terminal.ts'

let scene: AdminScene
let overlay: string
beforeAll(async () => {
  const folder = mkdtempSync(join(tmpdir(), 'topicgate-commands-'))
  const file = join(folder, 'policy.json')
  overlay = join(folder, 'policy.admin.yaml')
  writeFileSync(file, JSON.stringify(POLICY))
  writeFileSync(overlay, '{}\n')
  const reload = (): Promise<void> => scene.gate.apply([file, overlay])
  scene = await openAdminScene({
    policy: [file, overlay],
    server: { policy: { files: [file], overlay, reload } },
  })
  const sender = createSender({ client: 'd7', ip: '10.0.0.1' })
  for (let count = 0; count < 60; count++)
    scene.gate.checkSync({ topic: 'fleet/berlin/d7', sender, size: 10 })
})
afterAll(() => scene.close())

interface Result {
  readonly exitCode: number
  readonly out: string
  readonly err: string
}

function run(...args: readonly string[]): Promise<Result> {
  const env = { TOPICGATE_ADMIN: scene.url, TOPICGATE_TOKEN: scene.tokens.admin, HOME: scene.folder }
  return runCommand(args, { env })
}

/** Runs a command with --json and returns the document that it printed. */
async function runJson(
  ...args: readonly string[]
): Promise<{ readonly exitCode: number; readonly json: unknown }> {
  const { exitCode, out } = await run(...args, '--json')
  return { exitCode, json: JSON.parse(out) as unknown }
}

describe('the commands of operators', () => {
  it('show the card of a sender', async () => {
    const { exitCode, out } = await run('who', 'client:d7')
    expect(exitCode).toBe(0)
    expect(out).toContain('Throttled: 0 of 50 left under per-client; passes again in 100 ms.')
    expect(out).toMatch(/per-client +client=d7 +0 of 50/)
    expect(await runJson('who', 'client:d7')).toMatchObject({ exitCode: 0, json: { id: 'client:d7' } })
  })

  it('show the rates and the most refused', async () => {
    expect(await runJson('top', '--once')).toMatchObject({
      exitCode: 0,
      json: { senders: [{ id: 'client:d7', count: 10 }], status: { node: 'node-a' } },
    })
    expect((await run('top')).out).toContain('client:d7')
    expect((await run('keys', 'per-client')).out).toMatch(/client=d7 +50 +0/)
  })

  it('ban, list and unban, each with a reason', async () => {
    expect((await run('ban', 'client:d8')).exitCode).toBe(2)
    expect((await run('ban', 'client:d8', '--for', '15m', '--reason', 'floods')).exitCode).toBe(0)
    expect((await run('bans')).out).toMatch(/client:d8 .*reject .*floods \(admin\)/)
    expect((await run('unban', 'client:d8', '--reason', 'over')).out).toBe('removed client:d8\n')
    expect(await runJson('unban', 'client:d8', '--reason', 'over')).toMatchObject({
      exitCode: 1,
      json: { error: { status: 404 } },
    })
  })

  it('set overrides, exemptions and tiers', async () => {
    const reason = ['--reason', 'test']
    const set = [
      'override',
      'set',
      'client:d7',
      '--limit',
      'x2',
      '--rule',
      'per-client',
      '--for',
      '1h',
      ...reason,
    ]
    expect(await runJson(...set)).toMatchObject({ json: { entry: { id: 'client:d7 per-client' } } })
    expect((await run('override', 'ls')).out).toContain('x2')
    expect((await run('override', 'rm', 'client:d7 per-client', ...reason)).exitCode).toBe(0)
    expect(
      (await run('whitelist', 'add', 'lab', '--client', 'd1', '--client', 'd2', ...reason)).exitCode,
    ).toBe(0)
    expect(scene.gate.exemptions.get('lab')?.clients).toEqual(['d1', 'd2'])
    expect((await run('exempt', 'rm', 'lab', ...reason)).exitCode).toBe(0)
    expect((await run('tier', 'set', 'user:ann', 'gold', ...reason)).exitCode).toBe(0)
    expect((await run('tier', 'set', 'user:ann', 'lead', ...reason)).err).toContain('there is no tier "lead"')
  })

  it('promote a rule in shadow, so that it refuses', async () => {
    const reason = ['--reason', 'two weeks in shadow']
    const message = { topic: 'promoted/a', sender: { client: 'promoted' }, size: 1 }
    await run('rules', 'add', 'trial', '--limit', '1/s', '--topic', 'promoted/#', '--shadow', ...reason)
    await scene.gate.check(message)
    expect(await scene.gate.check(message)).toMatchObject({ allowed: true, shadow: ['trial'] })
    const { exitCode, out } = await run('promote', 'trial', ...reason)
    expect(exitCode).toBe(0)
    expect(out).toContain('trial refuses from now on; in shadow: 1 message\n')
    expect((await run('rules', 'ls')).out).toMatch(/trial +on/)
    expect(await scene.gate.check(message)).toMatchObject({ allowed: false, rule: 'trial' })
    const again = await run('promote', 'trial', ...reason)
    expect([again.exitCode, again.err]).toEqual([1, 'error: rule trial is not in shadow\n'])
    expect((await run('promote', 'nothing', ...reason)).err).toContain('there is no rule')
    expect((await run('rules', 'rm', 'trial', ...reason)).exitCode).toBe(0)
  })

  it('promote a rule in steps, each for more of the senders than the one before', async () => {
    const reason = ['--reason', 'a tenth is fine']
    await run('rules', 'add', 'trial', '--limit', '1/s', '--topic', 'promoted/#', '--shadow', ...reason)
    const { out } = await run('promote', 'trial', '--enforce', '10%', ...reason)
    expect(out).toContain('trial refuses from now on for 10 % of the senders; in shadow: 0 messages\n')
    expect((await run('rules', 'ls')).out).toMatch(/trial +shadow 90 %/)
    const fewer = await run('promote', 'trial', '--enforce', '10%', ...reason)
    const error = 'error: rule trial refuses for 10 % of the senders already (enforce more)\n'
    expect([fewer.exitCode, fewer.err]).toEqual([1, error])
    expect((await run('promote', 'trial', '--enforce', '12.5%', ...reason)).exitCode).toBe(0)
    expect(scene.gate.ruleOf('trial')?.shadowShare).toBe(0.875)
    expect((await run('promote', 'trial', '--enforce', '0%', ...reason)).err).toContain('above 0')
    expect((await run('promote', 'trial', ...reason)).exitCode).toBe(0)
    expect(scene.gate.ruleOf('trial')?.shadowShare).toBe(0)
    expect((await run('rules', 'rm', 'trial', ...reason)).exitCode).toBe(0)
  })

  it('promote the whole policy', async () => {
    const reason = ['--reason', 'it is time']
    const none = await run('promote', '--policy', ...reason)
    expect([none.exitCode, none.err]).toEqual([1, 'error: the policy is not in shadow\n'])
    const body = { shadow: true, reason: 'a trial of all rules' }
    expect((await scene.call('PUT', '/api/v1/policy/shadow', { body })).status).toBe(200)
    const rule = scene.gate.rules()[0]!
    expect(scene.gate.ruleOf(rule)?.shadowShare).toBe(1)
    const { out } = await run('promote', '--policy', '--enforce', '10%', ...reason)
    expect(out).toContain('the policy refuses from now on for 10 % of the senders\n')
    expect(scene.gate.ruleOf(rule)?.shadowShare).toBe(0.9)
    expect((await run('promote', '--policy', ...reason)).exitCode).toBe(0)
    expect(scene.gate.ruleOf(rule)?.shadowShare).toBe(0)
    expect((await run('promote', ...reason)).err).toContain('name what to promote (a rule, or --policy)')
  })

  it('change rules and the overlay, with versions', async () => {
    const reason = ['--reason', 'test']
    expect(
      (await run('rules', 'add', 'extra', '--limit', '9/s', '--per', 'client', ...reason)).exitCode,
    ).toBe(0)
    expect((await run('rules', 'ls')).out).toMatch(/extra +on/)
    expect((await run('rules', 'disable', 'extra', ...reason)).exitCode).toBe(0)
    expect((await run('rules', 'ls')).out).toMatch(/extra +off/)
    expect((await run('rules', 'rm', 'extra', ...reason)).exitCode).toBe(0)
    const file = join(scene.folder, 'new.yaml')
    writeFileSync(file, 'rules:\n  - name: per-client\n    limit: 5 apples\n')
    expect((await run('policy', 'check', file)).out).toMatch(/3:12.*not a rate/)
    expect((await run('policy', 'put', file, ...reason)).exitCode).toBe(1)
    writeFileSync(file, 'rules: [{ name: per-client, limit: 7/s }]')
    expect((await run('policy', 'diff', file)).out).toMatch(/^~ per-client/)
    expect((await run('policy', 'put', file, ...reason)).exitCode).toBe(0)
    expect(scene.gate.ruleOf('per-client')?.count).toBe(7)
    expect((await run('policy', 'rollback', '1', ...reason)).exitCode).toBe(0)
    expect((await run('policy', 'versions')).out).toMatch(/^version +at/)
    expect((await run('reload', ...reason)).exitCode).toBe(0)
    expect((await run('audit')).out).toContain('policy changed')
  })

  it('reset counts only if that is confirmed', async () => {
    expect((await run('reset', '--reason', 'x')).exitCode).toBe(2)
    expect((await run('reset', '--all', '--reason', 'x')).exitCode).toBe(2)
    expect(await runJson('reset', 'client:d7', '--reason', 'x')).toMatchObject({
      exitCode: 0,
      json: { keys: 1 },
    })
    expect((await run('reset', '--all', '--yes', '--reason', 'x')).exitCode).toBe(0)
    expect((await run('metrics', '--rule', 'per-client')).out).toMatch(/per-client +60 +10/)
  })

  it('exit with 69 if nobody is there, 77 without the right, 2 for wrong usage; JSON in each case', async () => {
    const nobody = await runCommand(['alerts', '--json', '--to', 'unix:/tmp/no-such.sock'], {})
    expect([nobody.exitCode, JSON.parse(nobody.out)]).toMatchObject([69, { error: { exitCode: 69 } }])
    const env = { TOPICGATE_ADMIN: scene.url, TOPICGATE_TOKEN: scene.tokens.viewer }
    const refused = await runCommand(['ban', 'client:x', '--reason', 'x', '--json'], { env })
    expect([refused.exitCode, JSON.parse(refused.out)]).toMatchObject([77, { error: { status: 403 } }])
    const usage = await runCommand(['ban', '--json'], { env })
    expect([usage.exitCode, JSON.parse(usage.out)]).toMatchObject([2, { error: { exitCode: 2 } }])
  })

  it('use the address and token of a context', async () => {
    const env = { HOME: scene.folder }
    const file = join(scene.folder, 'token')
    writeFileSync(file, `${scene.tokens.viewer}\n`)
    const added = await runCommand(['context', 'add', 'lab', '--to', scene.url, '--token-file', file], {
      env,
    })
    expect(added.exitCode).toBe(0)
    expect((await runCommand(['alerts'], { env })).out).toBe('no alert fires\n')
    expect((await runCommand(['context', 'ls'], { env })).out).toMatch(/\* +lab/)
    expect((await runCommand(['context', 'use', 'home'], { env })).exitCode).toBe(1)
  })

  it('print refusals as they come', async () => {
    const printed = run('tail', '--max', '1', '--client', 'd9')
    const sender = createSender({ client: 'd9' })
    const flood = setInterval(() => {
      scene.clock.advance(1_000)
      for (let count = 0; count < 80; count++) scene.gate.checkSync({ topic: 'fleet/a', sender, size: 1 })
    }, 20)
    const { exitCode, out } = await printed.finally(() => clearInterval(flood))
    expect([exitCode, out]).toEqual([
      0,
      expect.stringMatching(/client:d9 +fleet\/a +reject( ×\d+)? +0 of \d+ left under/),
    ])
  })
})

describe('doctor', () => {
  it('checks a running topicgate, and fails if a check does', async () => {
    const { exitCode, json } = await runJson('doctor')
    expect([exitCode, json]).toMatchObject([0, { ok: true }])
  })

  it('finds an old Node, a broken store, warnings of the policy, and idle rules', () => {
    expect(checkNodeVersion('18.20.1')).toMatchObject({ result: 'failed' })
    const store = {
      name: 'redis',
      ok: false,
      state: 'open' as const,
      detail: 'ECONNREFUSED',
      warnings: ['maxmemory-policy is allkeys-lru'],
    }
    expect(checkStoreHealth(store, 3)).toMatchObject([
      { result: 'failed', detail: 'redis is open: ECONNREFUSED' },
      { result: 'warning', detail: 'maxmemory-policy is allkeys-lru' },
    ])
    expect(checkStoreHealth({ name: 'redis', ok: true, overflows: 3 }, 400)).toMatchObject([
      { name: 'store', result: 'warning' },
      { name: 'store size', result: 'warning' },
    ])
    expect(checkPolicyWarnings({ warnings: [{ message: 'never refuses' }] })).toMatchObject([
      { result: 'warning' },
    ])
    const rules = [
      { name: 'idle', enabled: true, total: 0 },
      { name: 'off', enabled: false, total: 0 },
      { name: 'used', enabled: true, total: 5 },
    ]
    expect(checkRules(rules, 7_200_000)).toMatchObject({ name: 'rules never hit', detail: 'idle' })
    expect(checkRules(rules.slice(0, 1), 60_000)).toMatchObject({ result: 'ok' })
  })
})
