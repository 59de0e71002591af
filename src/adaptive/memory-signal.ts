import { readFileSync } from 'node:fs'
import { freemem, totalmem } from 'node:os'
import { type ContainerResources, openCgroup } from './cgroup.ts'
import type { Signal } from './signal-types.ts'

/** Signal of the memory share in use, 0 to 1: that of the container's limit or of the machine, whichever is higher. */
export function memorySignal(
  container: ContainerResources = openCgroup(),
  machine: () => number = usedOfMachine,
): Signal {
  return {
    name: 'memory',
    read: () => Math.min(1, Math.max(0, machine(), container.memoryShare() ?? 0)),
  }
}

/** Excludes caches that the system can drop at once (on Linux, counts memory that is not available). */
function usedOfMachine(): number {
  const available = availableBytes() ?? freemem()
  return 1 - available / totalmem()
}

function availableBytes(): number | undefined {
  try {
    const [, kiB] = /^MemAvailable:\s+(\d+) kB$/m.exec(readFileSync('/proc/meminfo', 'utf8')) ?? []
    return kiB === undefined ? undefined : Number(kiB) * 1024
  } catch {
    return undefined
  }
}
