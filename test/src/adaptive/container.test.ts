import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { afterEach, describe, expect, it } from 'vitest'
import { type ContainerResources, openCgroup } from '../../../src/adaptive/cgroup.ts'
import { cpuSignal } from '../../../src/adaptive/cpu-signal.ts'
import { memorySignal } from '../../../src/adaptive/memory-signal.ts'

const folders: string[] = []
afterEach(() => {
  for (const folder of folders.splice(0)) rmSync(folder, { recursive: true })
})

/** A tree of control groups as the kernel shows it. */
function tree(
  self: string,
  files: Readonly<Record<string, string>>,
): { root: string; open: () => ContainerResources } {
  const root = mkdtempSync(join(tmpdir(), 'topicgate-cgroup-'))
  folders.push(root)
  for (const [path, text] of Object.entries({ ...files, self })) {
    mkdirSync(dirname(join(root, path)), { recursive: true })
    writeFileSync(join(root, path), text)
  }
  return { root, open: () => openCgroup(root, join(root, 'self')) }
}

/** One core, so busy and so idle by now. */
function core(busyMs: number, idleMs: number): Parameters<typeof cpuSignal>[1] {
  const times = { user: busyMs, nice: 0, sys: 0, irq: 0, idle: idleMs }
  return () => [{ model: '', speed: 0, times }]
}

describe('a container', () => {
  it('of control groups version 2 has cores, CPU time and memory', () => {
    const { open } = tree('0::/pod/app\n', {
      'pod/app/cpu.max': '150000 100000\n',
      'pod/app/cpu.stat': 'usage_usec 2500000\nuser_usec 1\n',
      'pod/app/memory.max': '1000000\n',
      'pod/app/memory.current': '700000\n',
      'pod/app/memory.stat': 'anon 600000\ninactive_file 100000\n',
    })
    const container = open()
    expect([container.cores(), container.cpuMs(), container.memoryShare()]).toEqual([1.5, 2_500, 0.6])
  })

  it('of version 1 has the same figures', () => {
    const { open } = tree('4:memory:/m\n2:cpuacct:/c\n1:cpu:/c\n0::/\n', {
      'cpu/c/cpu.cfs_quota_us': '50000\n',
      'cpu/c/cpu.cfs_period_us': '100000\n',
      'cpuacct/c/cpuacct.usage': '3000000000\n',
      'memory/m/memory.limit_in_bytes': '2000000\n',
      'memory/m/memory.usage_in_bytes': '1000000\n',
      'memory/m/memory.stat': 'cache 5\ntotal_inactive_file 500000\n',
    })
    const container = open()
    expect([container.cores(), container.cpuMs(), container.memoryShare()]).toEqual([0.5, 3_000, 0.25])
  })

  it('uses the limit of an outer group if its own has none, and shows its root as /', () => {
    const { open } = tree('0::/pod/app\n', {
      'pod/app/cpu.max': 'max 100000\n',
      'pod/app/memory.max': 'max\n',
      'cpu.max': '200000 100000\n',
      'cpu.stat': 'usage_usec 1000\n',
      'memory.max': '100\n',
      'memory.current': '50\n',
    })
    const container = open()
    expect([container.cores(), container.cpuMs(), container.memoryShare()]).toEqual([2, 1, 0.5])
  })

  it.each([
    ['nothing is there', '', {}],
    [
      'no limit is set',
      '0::/\n4:memory:/\n1:cpu:/\n',
      {
        'cpu/cpu.cfs_quota_us': '-1\n',
        'cpu/cpu.cfs_period_us': '100000\n',
        'memory/memory.limit_in_bytes': '9223372036854771712\n',
        'memory/memory.usage_in_bytes': '1000\n',
      },
    ],
    ['the files are gibberish', '::::\n0::/../../etc\n', { 'cpu.max': 'x y z', 'memory.max': '{}' }],
  ])('has no figures if %s', (_, self, files) => {
    const container = tree(self, files).open()
    expect([container.cores(), container.cpuMs(), container.memoryShare()]).toEqual([
      undefined,
      undefined,
      undefined,
    ])
  })
})

describe('the signals of a machine', () => {
  const nowhere: ContainerResources = {
    cores: () => undefined,
    cpuMs: () => undefined,
    memoryShare: () => undefined,
  }

  it('measure CPU between two readings, and nothing at the first', () => {
    let times = core(100, 900)
    const cpu = cpuSignal(nowhere, () => times!())
    expect(cpu.read(0)).toBeUndefined()
    times = core(175, 925)
    expect(cpu.read(1_000)).toBe(0.75)
    expect(cpu.read(2_000)).toBeUndefined()
  })

  it('use the container if it is tighter', () => {
    let usedMs = 0
    const half: ContainerResources = { ...nowhere, cores: () => 0.5, cpuMs: () => usedMs }
    let times = core(0, 0)
    const cpu = cpuSignal(half, () => times!())
    cpu.read(0)
    usedMs = 450
    times = core(450, 550)
    expect(cpu.read(1_000)).toBe(0.9)
    usedMs = 460
    times = core(1_150, 850)
    expect(cpu.read(2_000)).toBe(0.7)
  })

  it('measure memory by the fuller of container and machine', () => {
    const container: ContainerResources = { ...nowhere, memoryShare: () => 0.8 }
    expect(memorySignal(container, () => 0.3).read(0)).toBe(0.8)
    expect(memorySignal(container, () => 0.9).read(0)).toBe(0.9)
    expect(memorySignal(nowhere, () => 0.3).read(0)).toBe(0.3)
  })

  it('can be read on this machine', () => {
    const share = memorySignal().read(0)!
    expect(share).toBeGreaterThan(0)
    expect(share).toBeLessThan(1)
    const cpu = cpuSignal()
    cpu.read(0)
    expect([undefined, 'number']).toContain(typeof cpu.read(1) === 'number' ? 'number' : undefined)
  })
})
