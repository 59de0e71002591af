import { delimiter } from 'node:path'
import { describe, expect, it } from 'vitest'
import {
  DEFAULT_NOTICES_TOPIC,
  healthPortFromEnv,
  isLimitingEnabled,
  logLevelFromEnv,
  monitoringOptionsFromEnv,
  noticesTopicFromEnv,
  overlayNameFromEnv,
  policyFilesFromEnv,
  storeOverlayFromEnv,
} from '../../../../src/cli/arguments/environment-variables.ts'
import { requirePolicyFiles, resolvePolicyFiles } from '../../../../src/cli/policy/resolve-policy-files.ts'
import { loadPolicy } from '../../../../src/policy/index.ts'
import { Folder } from '../folder.ts'

const STRANGE = ['redis://:pa$', '{ss}@host'].join('')

describe('the environment of commands', () => {
  it('says nothing where it is empty', async () => {
    const env = { TOPICGATE_STORE: '', TOPICGATE_ENABLED: '', TOPICGATE_ENV: '', TOPICGATE_HEALTH: '' }
    expect([
      storeOverlayFromEnv(env),
      isLimitingEnabled(env),
      overlayNameFromEnv(env),
      healthPortFromEnv(env),
      logLevelFromEnv(env, []),
    ]).toEqual([undefined, true, undefined, undefined, undefined])
    expect(policyFilesFromEnv({})).toEqual([])
  })

  it('names policies for commands that name none', () => {
    const env = { TOPICGATE_POLICY: `a.yaml${delimiter}b.yaml` }
    expect(requirePolicyFiles([], env, 'x')).toEqual(['a.yaml', 'b.yaml'])
    expect(requirePolicyFiles(['c.yaml'], env, 'x')).toEqual(['c.yaml'])
    expect(() => requirePolicyFiles([], {}, 'x y.yaml')).toThrow('no policy was given (topicgate x y.yaml)')
  })

  it('lays the overlay of its name over each file, where it is there', async () => {
    using folder = new Folder()
    const [base, other, over] = ['p.yaml', 'q.yaml', 'p.prod.yaml'].map(name => folder.file(name, ''))
    expect(await resolvePolicyFiles([base!, other!], { TOPICGATE_ENV: 'prod' })).toEqual([base, over, other])
    expect(await resolvePolicyFiles([base!], { TOPICGATE_ENV: 'test' })).toEqual([base])
    expect(await resolvePolicyFiles([base!, over!], { TOPICGATE_ENV: 'prod' })).toEqual([base, over])
    await expect(resolvePolicyFiles([base!], { TOPICGATE_ENV: '../x' })).rejects.toThrow('TOPICGATE_ENV')
  })

  it('puts its store over that of the policy, word by word, and takes it literally', async () => {
    const env = {
      TOPICGATE_STORE: STRANGE,
      TOPICGATE_STORE_PREFIX: 'p',
      TOPICGATE_STORE_TIMEOUT: '100ms',
      TOPICGATE_STORE_FALLBACK: 'deny',
      TOPICGATE_STORE_NODES: '4',
    }
    const base = { store: { url: 'redis://other', lease: 'auto' }, rules: [] }
    const { document } = await loadPolicy([base, storeOverlayFromEnv(env)!], { env: {} })
    expect(document.store).toEqual({
      url: STRANGE,
      lease: 'auto',
      prefix: 'p',
      timeout: '100ms',
      fallback: 'deny',
      nodes: 4,
    })
    const memory = await loadPolicy([base, storeOverlayFromEnv({ ...env, TOPICGATE_STORE: 'memory' })!], {
      env: {},
    })
    expect(memory.document.store).toBe('memory')
  })

  it('knows words for yes and no', () => {
    for (const no of ['false', '0', 'no', 'OFF'])
      expect(isLimitingEnabled({ TOPICGATE_ENABLED: no })).toBe(false)
    for (const yes of ['true', '1', 'yes', 'On'])
      expect(isLimitingEnabled({ TOPICGATE_ENABLED: yes })).toBe(true)
  })

  it('says where refused clients are told, by a word for yes or by a topic', () => {
    const told = ['', 'no', 'yes', '$why/{client}'].map(word =>
      noticesTopicFromEnv({ TOPICGATE_NOTICES: word }),
    )
    expect(told).toEqual([undefined, undefined, DEFAULT_NOTICES_TOPIC, '$why/{client}'])
    expect(noticesTopicFromEnv({})).toBeUndefined()
    expect(
      Object.values(monitoringOptionsFromEnv({ TOPICGATE_AUDIT_LOG: '', TOPICGATE_ALERTS_SECRET: '' })),
    ).toEqual(Array.from({ length: 4 }, () => undefined))
  })

  it('refuses what it cannot use, by its name and never by its value', () => {
    const value = 'redis://:secret@host'
    const wrong: [string, () => unknown][] = [
      ['TOPICGATE_ENABLED', () => isLimitingEnabled({ TOPICGATE_ENABLED: value })],
      ['TOPICGATE_ENV', () => overlayNameFromEnv({ TOPICGATE_ENV: value })],
      ['TOPICGATE_HEALTH', () => healthPortFromEnv({ TOPICGATE_HEALTH: value })],
      ['TOPICGATE_LOG_LEVEL', () => logLevelFromEnv({ TOPICGATE_LOG_LEVEL: value }, ['info'])],
      ['TOPICGATE_STORE_NODES', () => storeOverlayFromEnv({ TOPICGATE_STORE_NODES: value })],
      ['TOPICGATE_STORE_TIMEOUT', () => storeOverlayFromEnv({ TOPICGATE_STORE_TIMEOUT: value })],
    ]
    for (const [name, read] of wrong) {
      expect(read).toThrow(`the value of ${name} cannot be used`)
      expect(read).not.toThrow('secret')
      expect(read).toThrow(expect.objectContaining({ exitCode: 2 }))
    }
  })
})
