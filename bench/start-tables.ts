import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { alternate, alternateSlices, type Findings, nanoseconds, runCell, section, table } from './harness.ts'

const ms = (value: number): string => `${value.toFixed(0)} ms`

/** Loading and reloading large policies. */
export async function loading(rounds: number): Promise<string> {
  const folder = mkdtempSync(join(tmpdir(), 'topicgate-bench-'))
  const run = (work: string, rules: string, senders: string) => (): Promise<Findings> =>
    runCell('load-policy', [work, rules, senders, join(folder, 'policy.yaml')])
  const found = await alternate(rounds, {
    'load of 20,000 rules': run('load', '20000', '0'),
    'reload of 1,000 rules, 100,000 senders': run('reload', '1000', '100000'),
  })
  rmSync(folder, { recursive: true })
  const rows = Object.entries(found).map(([work, { cpuMs, longestMs, grownMb }]) => [
    work,
    ms(cpuMs!),
    ms(longestMs!),
    `${grownMb!.toFixed(0)} MiB`,
  ])
  return section(
    'Loading a policy',
    'A YAML file with rules of several kinds is loaded and put in force. CPU of the process, garbage collection included, and of the main thread in the longest turn of the event loop. Memory: growth of the peak RSS. Compiled from source, without bundles.',
    table(['work', 'CPU', 'longest turn', 'memory'], rows),
  )
}

/** Import of the package and start of a broker. */
export async function start(rounds: number): Promise<string> {
  const found = await alternate(rounds, {
    "import 'topicgate'": () => runCell('start', ['import']),
    '`topicgate broker fleet` until ready': () => runCell('start', ['broker']),
  })
  const rows = Object.entries(found).map(([work, { cpuMs, emptyMs }]) => [work, ms(cpuMs!), ms(emptyMs!)])
  return section(
    'Start',
    'CPU of a fresh process, beyond that of an empty Node, from the built package (`npm run build` first).',
    table(['work', 'CPU', 'empty Node'], rows),
  )
}

/** Connections that are opened and closed. */
export async function connects(rounds: number): Promise<string> {
  const { bare, topicgate } = await alternateSlices(rounds, 6, {
    bare: ['connects', ['bare', '3000']],
    topicgate: ['connects', ['topicgate', '3000']],
  })
  return section(
    'Connections',
    'CPU of the broker process per connection that is opened, accepted, closed by a DISCONNECT and gone, 32 at a time, with a rule for connects, a rule per client and an exemption by address. Brokers run side by side in turns.',
    table(
      ['aedes alone', 'with topicgate', 'ratio'],
      [[nanoseconds(bare!.cpuNs!), nanoseconds(topicgate!.cpuNs!), `${topicgate!.ratio!.toFixed(2)}×`]],
    ),
  )
}
