import { describe, expect, it } from 'vitest'
import { findCycles } from './cycles.ts'
import { moduleOf } from './modules.ts'
import { parseImports, stripComments } from './project.ts'

describe('reading imports', () => {
  it('distinguishes values, types and dynamic imports', () => {
    const source = `#!/usr/bin/env node
import './start.ts'
import type { A } from '../core/message.ts'
import { type B, type C } from '../core/max-sizes.ts'
import {
  type D,
  decide,
} from "../core/decision.ts"
import * as net from 'node:net'
import pino, { type Logger } from 'pino'
export type { E } from './e.ts'
export { f } from './f.ts'
export * from '@nats-io/jetstream/internal'
const { load } = await import('../policy/load-policy.ts')
let lazy: import('mqtt').MqttClient
`
    expect(parseImports('src/chain/x.ts', source).map(({ to, kind }) => `${kind} ${to}`)).toEqual([
      'value src/chain/start.ts',
      'type src/core/message.ts',
      'type src/core/max-sizes.ts',
      'value src/core/decision.ts',
      'value node:net',
      'value pino',
      'type src/chain/e.ts',
      'value src/chain/f.ts',
      'value @nats-io/jetstream',
      'dynamic src/policy/load-policy.ts',
      'type mqtt',
    ])
  })

  it('ignores comments, strings and regular expressions', () => {
    const source = `// import { a } from './a.ts'
/* import './b.ts' */
const quote = /['"\`]|[/*]/
const url = 'mqtt://host' // import('./c.ts')
const half = total / count / 2
import('./d.ts')
`
    expect(parseImports('src/x.ts', source)).toEqual([{ to: 'src/d.ts', kind: 'dynamic' }])
  })

  it('blanks strings and keeps lines', () => {
    const source = "const a = 'as any' // : any\nconst b = `x\ny` as const\n"
    expect(stripComments(source, { strings: 'blank' })).toBe("const a = '' \nconst b = `\n` as const\n")
  })
})

describe('finding cycles', () => {
  it('reports each cycle once, from any starting point', () => {
    const graph: Record<string, string[]> = {
      top: ['b'],
      a: ['b'],
      b: ['c'],
      c: ['a', 'leaf'],
      leaf: [],
      self: ['self'],
    }
    expect(findCycles(Object.keys(graph), node => graph[node] ?? [])).toEqual([
      'a → b → c → a',
      'self → self',
    ])
  })
})

describe('finding the module of a file', () => {
  it.each([
    ['src/core/clock.ts', 'core'],
    ['src/gate/gate.ts', 'gate'],
    ['src/guard/hold.ts', 'guard'],
    ['src/stores/redis/store.ts', 'stores'],
    ['brokers/aedes/index.ts', 'brokers'],
    ['src/attic/box.ts', undefined],
    ['src/stray.ts', undefined],
    ['src/constructor/x.ts', undefined],
  ])('%s is in %s', (path, module) => {
    expect(moduleOf(path)).toBe(module)
  })
})
