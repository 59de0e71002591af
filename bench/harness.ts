import { fork } from 'node:child_process'
import { cpus, totalmem } from 'node:os'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

export function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** What one run in a process of its own found, by name. */
export type Findings = Readonly<Record<string, number>>

/** Runs a cell of the bench in a fresh process and returns what it found. */
export function runCell(
  cell: string,
  args: readonly string[],
  flags: readonly string[] = [],
): Promise<Findings> {
  return new Promise((resolve, reject) => {
    const child = fork(fileURLToPath(new URL(`./${cell}.js`, import.meta.url)), [...args], {
      execArgv: [...flags],
    })
    let findings: Findings | undefined
    child.on('message', message => {
      findings = message as Findings
    })
    child.on('error', reject)
    child.on('exit', code => {
      if (findings === undefined)
        reject(new Error(`${cell} ${args.join(' ')} ended with ${code} and found nothing`))
      else resolve(findings)
    })
  })
}

/** Tells the parent what a cell has found, and ends it. */
export function report(findings: Findings): void {
  process.send?.(findings, () => process.exit(0))
}

/** Runs several subjects in turn, round after round, so that a noisy minute meets them all; medians by name. */
export async function alternate(
  rounds: number,
  subjects: Readonly<Record<string, () => Promise<Findings>>>,
): Promise<Readonly<Record<string, Findings>>> {
  const found = new Map<string, Findings[]>()
  for (let round = 0; round < rounds; round++) {
    for (const [name, run] of Object.entries(subjects)) {
      found.set(name, [...(found.get(name) ?? []), await run()])
      process.stderr.write('.')
    }
  }
  const medians = [...found].map(([name, all]) => {
    const names = Object.keys(all[0]!)
    return [name, Object.fromEntries(names.map(each => [each, median(all.map(one => one[each]!))]))] as const
  })
  return Object.fromEntries(medians)
}

let collect: (() => void) | undefined

/** Bytes in use once all garbage is gone: of the heap with what stands outside of it, and of the whole process. */
export function measureMemory(): { readonly heap: number; readonly rss: number } {
  if (collect === undefined) {
    setFlagsFromString('--expose-gc')
    collect = runInNewContext('gc') as () => void
  }
  // What a finalizer lets go of is only found by the next one.
  for (let times = 0; times < 3; times++) collect()
  const { heapUsed, external, rss } = process.memoryUsage()
  // Typed arrays are part of `external`.
  return { heap: heapUsed + external, rss }
}

export function describeMachine(): string {
  const model = cpus()[0]?.model ?? 'unknown'
  return `Node ${process.version}, ${cpus().length} × ${model}, ${Math.round(totalmem() / 2 ** 30)} GiB, ${process.platform}`
}

export function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]): string => `| ${cells.join(' | ')} |`
  return [line(head), line(head.map((_, index) => (index === 0 ? '---' : '---:'))), ...rows.map(line)].join(
    '\n',
  )
}

export function nanoseconds(value: number): string {
  return value < 1_000 ? `${value.toFixed(0)} ns` : `${(value / 1_000).toFixed(2)} µs`
}

export function times(value: number): string {
  return `${value.toFixed(value < 10 ? 1 : 0)}×`
}

export function bytes(value: number): string {
  return value < 2 ** 20 ? `${value.toFixed(0)} B` : `${(value / 2 ** 20).toFixed(0)} MiB`
}

/** A part of the page, as Markdown. */
export function section(title: string, text: string, rows: string): string {
  return `## ${title}\n\n${text}\n\n${rows}\n`
}
