import { fork } from 'node:child_process'
import { once } from 'node:events'
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
  return Object.fromEntries([...found].map(([name, all]) => [name, mediansOf(all)]))
}

/** A cell that stays and measures again and again. */
interface OpenCell {
  measure(): Promise<Findings>
  close(): Promise<unknown>
}

/** Starts a cell that serves slices. */
async function openCell(cell: string, args: readonly string[], flags: readonly string[]): Promise<OpenCell> {
  const child = fork(fileURLToPath(new URL(`./${cell}.js`, import.meta.url)), [...args], {
    execArgv: [...flags],
  })
  const next = async (): Promise<unknown> => {
    const [message] = (await Promise.race([once(child, 'message'), once(child, 'exit')])) as [unknown]
    if (typeof message === 'object' || message === READY) return message
    throw new Error(`${cell} ${args.join(' ')} ended with ${message} and found nothing`)
  }
  await next()
  return {
    measure: () => {
      child.send('go')
      return next() as Promise<Findings>
    },
    close: () => {
      const ended = once(child, 'exit')
      child.send('end')
      return ended
    },
  }
}

const READY = 'ready'

/** The cell's side: measures a slice each time its parent says so, until it is told to end. */
export function serveSlices(measure: () => Promise<Findings>, close: () => void): void {
  process.on('message', async word => {
    if (word === 'go') process.send?.(await measure())
    else {
      close()
      process.exit(0)
    }
  })
  process.send?.(READY)
}

/** A cell by its file, its arguments and flags of Node. */
export type CellSpec = readonly [cell: string, args: readonly string[], flags?: readonly string[]]

/**
 * Runs several subjects side by side in short slices, in turns there and back: a machine whose speed changes from second
 * to second meets all of them alike. Each round is of new processes. Medians over all slices by name; `ratio` is the median
 * over the rounds of what, in the median of a round, a slice cost in `cpuNs`, of its neighbour of the first subject.
 */
export async function alternateSlices(
  rounds: number,
  slices: number,
  subjects: Readonly<Record<string, CellSpec>>,
): Promise<Readonly<Record<string, Findings>>> {
  const names = Object.keys(subjects)
  const found = new Map(names.map(name => [name, [] as Findings[]]))
  const ratios = new Map(names.map(name => [name, [] as number[]]))
  for (let round = 0; round < rounds; round++) {
    const cells = new Map<string, OpenCell>()
    for (const [name, [cell, args, flags]] of Object.entries(subjects))
      cells.set(name, await openCell(cell, args, flags ?? []))
    for (let slice = 0; slice < slices; slice++) {
      for (const name of slice % 2 === 0 ? names : names.toReversed())
        found.get(name)!.push(await cells.get(name)!.measure())
    }
    await Promise.all([...cells.values()].map(cell => cell.close()))
    const costs = (name: string): readonly number[] =>
      found
        .get(name)!
        .slice(-slices)
        .map(({ cpuNs }) => cpuNs!)
    const first = costs(names[0]!)
    for (const name of names) {
      ratios.get(name)!.push(median(costs(name).map((cpuNs, slice) => cpuNs / first[slice]!)))
    }
    process.stderr.write('.')
  }
  return Object.fromEntries(
    names.map(name => [name, { ...mediansOf(found.get(name)!), ratio: median(ratios.get(name)!) }]),
  )
}

function mediansOf(all: readonly Findings[]): Findings {
  return Object.fromEntries(Object.keys(all[0]!).map(each => [each, median(all.map(one => one[each]!))]))
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
