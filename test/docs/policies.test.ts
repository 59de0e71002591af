import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { findUnsupported } from '../../brokers/aedes/capabilities.ts'
import { PolicyError } from '../../src/core/errors.ts'
import { Gate } from '../../src/gate/gate.ts'
import { loadPolicy } from '../../src/policy/index.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import { ROOT } from '../structure/project.ts'
import { BLOCKS, placeOf } from './pages.ts'

/** Overlays, and files of tests and fleets, are for the commands beside them. */
const isNoPolicy = ({ words }: { readonly words: readonly string[] }): boolean =>
  words.some(word => /\.(?:test|fleet|overlay)\.yaml$/.test(word))

const policies = BLOCKS.filter(block => block.language === 'yaml' && !isNoPolicy(block)).map(block => ({
  ...block,
  place: placeOf(block),
}))
const isBroken = ({ words }: { readonly words: readonly string[] }): boolean =>
  words.some(word => word.startsWith('broken'))

describe('policies on the pages', () => {
  it('are there', () => {
    expect(policies.length).toBeGreaterThan(10)
  })

  it.each(policies.filter(block => !isBroken(block)))('$place loads, and aedes can enact it', async block => {
    await loadPolicy(block.text, { env: {} })
    // Their servers are not here.
    const gate = await Gate.fromPolicy(block.text, { env: {}, store: new MemoryStore() })
    // What goes by handlers is for consumers.
    if (gate.handlerMonitor.names.length === 0) expect(findUnsupported(gate)).toEqual([])
    else expect(findUnsupported(gate)[0]).toContain('use the policy in a NATS or MQTT consumer')
    await gate.close()
  })

  it.each(policies.filter(isBroken))('$place is refused', async block => {
    await expect(loadPolicy(block.text, { env: {} })).rejects.toThrow(PolicyError)
  })
})

it.each(readdirSync(join(ROOT, 'config')).filter(file => file.endsWith('.yaml')))(
  'config/%s is a policy aedes can enact',
  async file => {
    const gate = await Gate.fromPolicy(join(ROOT, 'config', file), { env: {} })
    expect(findUnsupported(gate)).toEqual([])
    await gate.close()
  },
)
