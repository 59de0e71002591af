import type { Folder } from '../src/cli/folder.ts'
import { logged, startCommand } from './cli.ts'

/** A gateway in a process of its own. */
export interface GatewayProcess extends AsyncDisposable {
  readonly pid: number
  readonly port: number
  /** All that it has logged. */
  readonly output: () => string
  /** Returns the sum of the samples of a metric. */
  readMetric(name: string): Promise<number>
}

/** Starts `topicgate gateway` with a policy in front of a broker. */
export async function startGatewayProcess(
  folder: Folder,
  policy: string,
  upstream: string,
): Promise<GatewayProcess> {
  const program = startCommand(
    ...['gateway', folder.file('policy.yaml', policy), '--upstream', upstream],
    ...['--port', '0', '--health', '0'],
  )
  const { port, msg } = await logged(program, /ready/)
  const metricsUrl = /http:\S+/.exec(String(msg))![0].replace('ready', 'metrics')
  return {
    pid: program.pid,
    port: Number(port),
    output: () => program.stdout,
    readMetric: async name => {
      const text = await (await fetch(metricsUrl)).text()
      const samples = text.matchAll(new RegExp(`^${name}(?:\\{.*\\})? (\\S+)$`, 'gm'))
      return Array.from(samples, ([, value]) => Number(value)).reduce((sum, value) => sum + value, 0)
    },
    [Symbol.asyncDispose]: () => program[Symbol.asyncDispose]() as Promise<void>,
  }
}
