import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { findCycles } from './cycles.ts'
import {
  describeDependencies,
  LAZY_DEPENDENCIES,
  MODULES,
  moduleOf,
  OUTER_PACKAGES,
  TYPE_ONLY_PACKAGES,
} from './modules.ts'
import { type Import, isProjectFile, listImports, listSources, ROOT } from './project.ts'

const sources = listSources()
const graph = new Map<string, Import[]>(sources.map(path => [path, listImports(path)]))

describe('dependencies between modules', () => {
  it('every source file belongs to a known module', () => {
    const unassigned = sources
      .filter(path => moduleOf(path) === undefined)
      .map(
        path =>
          `${path}: move it into a module, or add its module and dependencies to test/structure/modules.ts`,
      )
    expect(unassigned).toEqual([])
  })

  it('every import leads to a file that exists, with its ending', () => {
    const broken = edges().flatMap(({ from, to }) =>
      isProjectFile(to) && existsSync(join(ROOT, to)) && /\.tsx?$/.test(to)
        ? []
        : [`${from} imports ${to}: no such file; write the path with .ts`],
    )
    expect(broken).toEqual([])
  })

  it('modules import only the modules listed for them', () => {
    const wrong = edges().flatMap(({ from, to, kind }) => {
      const [source, target] = [moduleOf(from), moduleOf(to)]
      if (!source || !target || source === target) return []
      if (MODULES[source]?.includes(target)) return []
      if (kind !== 'value' && LAZY_DEPENDENCIES.has(`${source} → ${target}`)) return []
      return [
        `${from} imports ${to} (${source} → ${target}): ${describeDependencies(source)}; move shared code into a lower module`,
      ]
    })
    expect(wrong).toEqual([])
  })

  it('a broker imports no other broker', () => {
    const wrong = edges().flatMap(({ from, to }) => {
      const [own, other] = [from.match(/^brokers\/([^/]+)\//)?.[1], to.match(/^brokers\/([^/]+)\//)?.[1]]
      return own && other && own !== other ? [`${from} imports ${to}: move shared code into src`] : []
    })
    expect(wrong).toEqual([])
  })

  it('no file imports itself through a cycle, types included', () => {
    // A dynamic import() runs later, so it closes no cycle.
    const next = (path: string): string[] =>
      (graph.get(path) ?? [])
        .filter(({ to, kind }) => graph.has(to) && kind !== 'dynamic')
        .map(({ to }) => to)
    expect(findCycles(sources, next)).toEqual([])
  })

  it('no folder of the command line imports itself through a cycle', () => {
    const folderOf = (path: string): string | undefined => /^src\/cli\/([^/]+)\//.exec(path)?.[1]
    const folders = [...new Set(sources.flatMap(path => folderOf(path) ?? []))]
    expect(folders.length).toBeGreaterThan(15)
    const next = (folder: string): string[] =>
      edges().flatMap(({ from, to }) => {
        const target = folderOf(to)
        return folderOf(from) === folder && target !== undefined && target !== folder ? [target] : []
      })
    expect(findCycles(folders, next)).toEqual([])
  })
})

describe('packages of the core', () => {
  const core = sources.filter(path => !['cli', 'brokers'].includes(moduleOf(path) ?? ''))

  it('the core loads no package of a broker, client, database or terminal', () => {
    const wrong = core.flatMap(path =>
      (graph.get(path) ?? [])
        .filter(({ to }) => OUTER_PACKAGES.has(to))
        .map(({ to }) => `${path} imports ${to}: only brokers and cli may; use an interface`),
    )
    expect(wrong).toEqual([])
  })

  it('the core imports pino as types only', () => {
    const wrong = core.flatMap(path =>
      (graph.get(path) ?? [])
        .filter(({ to, kind }) => TYPE_ONLY_PACKAGES.has(to) && kind !== 'type')
        .map(({ to }) => `${path} loads ${to}: write import type, and take the value as an option`),
    )
    expect(wrong).toEqual([])
  })
})

interface Edge extends Import {
  readonly from: string
}

/** Imports between files of the project. */
function edges(): Edge[] {
  return [...graph].flatMap(([from, imports]) =>
    imports
      .filter(({ to }) => to.includes('/') && /^(src|brokers|\.\.)/.test(to))
      .map(found => ({ from, ...found })),
  )
}
