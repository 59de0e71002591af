import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { findCircles } from './circles.ts'
import { type Import, isOurs, listImports, listSources, ROOT } from './project.ts'
import { describeArrows, EDGE_PACKAGES, LAZY_ARROWS, ROOMS, roomOf, TYPE_ONLY_PACKAGES } from './rooms.ts'

const sources = listSources()
const graph = new Map<string, Import[]>(sources.map(path => [path, listImports(path)]))

describe('arrows between rooms', () => {
  it('every source file lives in a known room', () => {
    const homeless = sources
      .filter(path => roomOf(path) === undefined)
      .map(path => `${path}: move it into a room, or name its room and arrows in test/structure/rooms.ts`)
    expect(homeless).toEqual([])
  })

  it('every import leads to a file that exists, with its ending', () => {
    const broken = edges().flatMap(({ from, to }) =>
      isOurs(to) && existsSync(join(ROOT, to)) && to.endsWith('.ts')
        ? []
        : [`${from} imports ${to}: no such file; write the path with .ts`],
    )
    expect(broken).toEqual([])
  })

  it('arrows run downwards only', () => {
    const wrong = edges().flatMap(({ from, to, kind }) => {
      const [source, target] = [roomOf(from), roomOf(to)]
      if (!source || !target || source === target) return []
      if (ROOMS[source]?.includes(target)) return []
      if (kind !== 'value' && LAZY_ARROWS.has(`${source} → ${target}`)) return []
      return [
        `${from} imports ${to} (${source} → ${target}): ${describeArrows(source)}; move what both need further down`,
      ]
    })
    expect(wrong).toEqual([])
  })

  it('a broker imports no other broker', () => {
    const wrong = edges().flatMap(({ from, to }) => {
      const [own, other] = [from.match(/^brokers\/([^/]+)\//)?.[1], to.match(/^brokers\/([^/]+)\//)?.[1]]
      return own && other && own !== other ? [`${from} imports ${to}: move what both need into src`] : []
    })
    expect(wrong).toEqual([])
  })

  it('no file imports itself in a circle', () => {
    // Circles of types alone inside one room are harmless: nothing of them is left at run time.
    const next = (path: string): string[] =>
      (graph.get(path) ?? [])
        .filter(
          ({ to, kind }) =>
            graph.has(to) && (kind === 'value' || (kind === 'type' && roomOf(to) !== roomOf(path))),
        )
        .map(({ to }) => to)
    expect(findCircles(sources, next)).toEqual([])
  })
})

describe('packages of the core', () => {
  const core = sources.filter(path => !['cli', 'brokers'].includes(roomOf(path) ?? ''))

  it('the core loads no broker, client, database or terminal', () => {
    const wrong = core.flatMap(path =>
      (graph.get(path) ?? [])
        .filter(({ to }) => EDGE_PACKAGES.has(to))
        .map(({ to }) => `${path} imports ${to}: only brokers and cli may; take it through an interface`),
    )
    expect(wrong).toEqual([])
  })

  it('the core names pino in types only', () => {
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
