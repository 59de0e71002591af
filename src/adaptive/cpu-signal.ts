import { cpus } from 'node:os'
import { type ContainerResources, openCgroup } from './cgroup.ts'
import type { Signal } from './signal-types.ts'

interface Reading {
  readonly atMs: number
  readonly usedMs: number | undefined
  readonly busyMs: number
  readonly totalMs: number
}

/**
 * Signal of the CPU share used since the last reading, 0 to 1: that of the container's limit or of the whole
 * machine, whichever is higher.
 */
export function cpuSignal(
  container: ContainerResources = openCgroup(),
  machine: () => ReturnType<typeof cpus> = cpus,
): Signal {
  let last: Reading | undefined
  return {
    name: 'cpu',
    read(nowMs) {
      const reading = { atMs: nowMs, usedMs: container.cpuMs(), ...timesOf(machine()) }
      const before = last
      last = reading
      if (before === undefined) return undefined
      const ofMachine = (reading.busyMs - before.busyMs) / (reading.totalMs - before.totalMs)
      const allowedMs = (container.cores() ?? 0) * (reading.atMs - before.atMs)
      const ofContainer = (reading.usedMs! - before.usedMs!) / allowedMs
      const shares = [ofMachine, ofContainer].filter(share => share >= 0 && share < Infinity)
      return shares.length === 0 ? undefined : Math.min(1, Math.max(...shares))
    },
  }
}

function timesOf(cores: ReturnType<typeof cpus>): { readonly busyMs: number; readonly totalMs: number } {
  let busyMs = 0
  let totalMs = 0
  for (const { times } of cores) {
    const { user, nice, sys, irq, idle } = times
    busyMs += user + nice + sys + irq
    totalMs += user + nice + sys + irq + idle
  }
  return { busyMs, totalMs }
}
