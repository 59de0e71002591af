import { copyFileSync, existsSync } from 'node:fs'
import { basename, join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parseAllDocuments } from 'yaml'
import { findUnsupported } from '../../brokers/aedes/capabilities.ts'
import { PolicyError } from '../../src/core/errors.ts'
import { Gate } from '../../src/gate/gate.ts'
import { loadPolicy } from '../../src/policy/index.ts'
import { MemoryStore } from '../../src/stores/memory/memory-store.ts'
import { runCommand } from '../src/cli/fake-terminal.ts'
import { Folder } from '../src/cli/folder.ts'
import { listFiles, ROOT, readText } from '../structure/project.ts'
import { BLOCKS, type Block, placeOf } from './pages.ts'

/*
 * Each policy on a page has a name behind `yaml`, and tests in policies/PAGE/NAME.test.yaml, which try what the page says of
 * it. They run as `topicgate test` runs them, and leave out no rule or exemption.
 */

const TESTS = 'test/docs/policies'

/** Overlays, and files of tests and fleets, are for the commands beside them. */
const isNoPolicy = ({ words }: Block): boolean =>
  words.some(word => /\.(?:test|fleet|overlay)\.yaml$/.test(word))
const isBroken = ({ words }: Block): boolean => words.some(word => word.startsWith('broken'))

const testsOf = (name: string): string => name.replace('.yaml', '.test.yaml')

interface Manifest {
  readonly kind: string
  readonly data?: Readonly<Record<string, string>>
}

const blocks = BLOCKS.filter(block => block.language === 'yaml' && !isNoPolicy(block)).map(block => {
  const name = block.words[0] ?? '(a name is missing).yaml'
  const page = block.page.replace(/^docs\/|\.md$/g, '')
  return {
    ...block,
    place: placeOf(block),
    name,
    tests: `${TESTS}/${page}/${testsOf(name)}`,
  }
})

/** Policies in ConfigMaps of the package. */
const mounted = listFiles('config/kubernetes', '.yml').flatMap(place =>
  parseAllDocuments(readText(place)).flatMap(document => {
    const { kind, data = {} } = document.toJS() as Manifest
    const files = kind === 'ConfigMap' ? Object.entries(data) : []
    const folder = `${TESTS}/kubernetes/${basename(place, '.yml')}`
    return files.flatMap(([name, text]) =>
      name.endsWith('.yaml') ? [{ place, name, text, tests: `${folder}/${testsOf(name)}` }] : [],
    )
  }),
)

const policies = [...blocks.filter(block => !isBroken(block)), ...mounted]

describe('policies on the pages', () => {
  it('are there', () => {
    expect(policies.length).toBeGreaterThan(10)
  })

  it.each(policies)('$place loads, and aedes can enact it', async block => {
    await loadPolicy(block.text, { env: {} })
    // Their servers are not here.
    const gate = await Gate.fromPolicy(block.text, { env: {}, store: new MemoryStore() })
    // What goes by handlers is for consumers.
    if (gate.handlerMonitor.names.length === 0) expect(findUnsupported(gate)).toEqual([])
    else expect(findUnsupported(gate)[0]).toContain('use the policy in a NATS or MQTT consumer')
    await gate.close()
  })

  it.each(blocks.filter(isBroken))('$place is refused', async block => {
    await expect(loadPolicy(block.text, { env: {} })).rejects.toThrow(PolicyError)
  })

  it('have tests, each its own', () => {
    expect(policies.filter(({ tests }) => !existsSync(join(ROOT, tests))).map(({ place }) => place)).toEqual(
      [],
    )
    expect(listFiles(TESTS, '.yaml').toSorted()).toEqual(policies.map(({ tests }) => tests).toSorted())
  })

  it.each(policies)('$place does what the page says', async ({ name, text, tests }) => {
    using folder = new Folder()
    folder.file(name, text)
    const file = folder.file(testsOf(name), '')
    copyFileSync(join(ROOT, tests), file)
    const { out } = await runCommand(['test', file, '--coverage'])
    expect(out).toMatch(/^\d+ passed, 0 failed\n\n.*: (\d+) of \1 rules and exemptions decided a message\n$/m)
  })
})

it.each(listFiles('config', '.yaml').filter(path => /^config\/[^/]+$/.test(path)))(
  '%s is a policy aedes can enact',
  async path => {
    const gate = await Gate.fromPolicy(join(ROOT, path), { env: {} })
    expect(findUnsupported(gate)).toEqual([])
    await gate.close()
  },
)
