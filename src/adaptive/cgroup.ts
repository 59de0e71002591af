import { readFileSync } from 'node:fs'
import { join } from 'node:path'

/** Limits and usage of a container. A figure is undefined if there is no limit or it cannot be read. */
export interface ContainerResources {
  /** Returns the number of cores: quota divided by period. */
  cores(): number | undefined
  /** Returns the CPU time used so far, in milliseconds. */
  cpuMs(): number | undefined
  /** Returns the share of memory that is used and cannot be freed at once, 0 to 1. */
  memoryShare(): number | undefined
}

/** Version 1 writes "no limit" as a page-aligned number near 2^63. */
const UNLIMITED_BYTES = 2 ** 60

/**
 * Returns the container of this process, from its control groups: version 2 (`cpu.max`, `cpu.stat`,
 * `memory.max`, `memory.current`) or 1 (`cpu.cfs_quota_us`, `cpuacct.usage`, `memory.limit_in_bytes`,
 * `memory.usage_in_bytes`); see https://docs.kernel.org/admin-guide/cgroup-v2.html. Limits of outer groups
 * apply as well: from its own group upwards, the first one with a limit counts. Never throws.
 */
export function openCgroup(root = '/sys/fs/cgroup', self = '/proc/self/cgroup'): ContainerResources {
  const paths = groupsOf(self)
  const unified = ancestry(paths.get('') ?? '/').map(path => join(root, path))
  const cpu = ancestry(paths.get('cpu') ?? '/').map(path => join(root, 'cpu', path))
  const used = ancestry(paths.get('cpuacct') ?? '/').map(path => join(root, 'cpuacct', path))
  const memory = ancestry(paths.get('memory') ?? '/').map(path => join(root, 'memory', path))

  const limitedBy = (): { readonly cores: number; readonly cpuMs: () => number | undefined } | undefined => {
    for (const group of unified) {
      const [quota, period] = words(join(group, 'cpu.max'))
      const cores = Number(quota) / Number(period)
      if (cores > 0)
        return { cores, cpuMs: () => scaled(field(join(group, 'cpu.stat'), 'usage_usec'), 1_000) }
    }
    for (const [index, group] of cpu.entries()) {
      const cores = numberIn(join(group, 'cpu.cfs_quota_us')) / numberIn(join(group, 'cpu.cfs_period_us'))
      const usage = join(used[index] ?? used[0]!, 'cpuacct.usage')
      if (cores > 0) return { cores, cpuMs: () => scaled(numberIn(usage), 1_000_000) }
    }
    return undefined
  }
  const limited = limitedBy()
  return {
    cores: () => limitedBy()?.cores,
    cpuMs: () => limited?.cpuMs(),
    memoryShare() {
      for (const group of unified) {
        const limit = numberIn(join(group, 'memory.max'))
        const current = numberIn(join(group, 'memory.current'))
        if (limit > 0 && current >= 0)
          return (current - orZero(field(join(group, 'memory.stat'), 'inactive_file'))) / limit
      }
      for (const group of memory) {
        const limit = numberIn(join(group, 'memory.limit_in_bytes'))
        const current = numberIn(join(group, 'memory.usage_in_bytes'))
        if (!(limit > 0 && limit < UNLIMITED_BYTES && current >= 0)) continue
        return (current - orZero(field(join(group, 'memory.stat'), 'total_inactive_file'))) / limit
      }
      return undefined
    },
  }
}

/** Returns paths by controller. The path of version 2 has the key ''. */
function groupsOf(self: string): ReadonlyMap<string, string> {
  const paths = new Map<string, string>()
  for (const line of textOf(self).split('\n')) {
    const [, controllers, path] = /^\d+:([^:]*):(\/.*)$/.exec(line) ?? []
    if (path !== undefined && !path.includes('..'))
      for (const name of controllers!.split(',')) paths.set(name, path)
  }
  return paths
}

/** Returns `/a/b`, `/a` and `/` for `/a/b`. Inside a namespace of the container, only the last one exists. */
function ancestry(path: string): readonly string[] {
  const parts = path.split('/').filter(part => part !== '')
  return Array.from(
    { length: parts.length + 1 },
    (_, cut) => `/${parts.slice(0, parts.length - cut).join('/')}`,
  )
}

function textOf(path: string): string {
  try {
    return readFileSync(path, 'utf8')
  } catch {
    return ''
  }
}

function words(path: string): readonly string[] {
  return textOf(path).trim().split(/\s+/)
}

/** Returns the number at the start of a file; NaN if there is none. */
function numberIn(path: string): number {
  const [first = ''] = words(path)
  return first === '' ? Number.NaN : Number(first)
}

function field(path: string, name: string): number {
  const line = textOf(path)
    .split('\n')
    .find(each => each.startsWith(`${name} `))
  return line === undefined ? Number.NaN : Number(line.slice(name.length + 1))
}

function scaled(value: number, by: number): number | undefined {
  return value >= 0 ? value / by : undefined
}

function orZero(value: number): number {
  return value > 0 ? value : 0
}
