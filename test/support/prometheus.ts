import { copyFile, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { parse, stringify } from 'yaml'
import { ROOT } from './built.ts'
import { startServer, type TestServer } from './server.ts'

/** Labels and value of a sample of an instant query. */
export interface PrometheusSample {
  readonly metric: Readonly<Record<string, string>>
  readonly value: readonly [seconds: number, value: string]
}

export interface PrometheusServer extends TestServer {
  /** Evaluates a PromQL expression now. Rejects if Prometheus refuses it. */
  query(expression: string): Promise<readonly PrometheusSample[]>
}

interface PrometheusConfig {
  readonly global: object
  readonly scrape_configs: readonly object[]
}

/** Starts a Prometheus with the files of `config/prometheus/`, changed to scrape `target` every 300 ms. */
export async function startPrometheus(target: string): Promise<PrometheusServer> {
  const server = await startServer({
    program: 'prometheus',
    variable: 'TOPICGATE_PROMETHEUS',
    args: async (port, folder) => {
      const files = join(ROOT, 'config/prometheus')
      const config = parse(await readFile(join(files, 'prometheus.yml'), 'utf8')) as PrometheusConfig
      const intervals = { scrape_interval: '300ms', scrape_timeout: '300ms', evaluation_interval: '300ms' }
      const [job] = config.scrape_configs
      const changed = {
        ...config,
        global: { ...config.global, ...intervals },
        scrape_configs: [{ ...job, static_configs: [{ targets: [target] }] }],
      }
      await writeFile(join(folder, 'prometheus.yml'), stringify(changed))
      await copyFile(join(files, 'topicgate.rules.yml'), join(folder, 'topicgate.rules.yml'))
      return [
        `--config.file=${join(folder, 'prometheus.yml')}`,
        `--storage.tsdb.path=${join(folder, 'data')}`,
        `--web.listen-address=127.0.0.1:${port}`,
      ]
    },
  })
  return {
    ...server,
    async query(expression) {
      const url = `http://127.0.0.1:${server.port}/api/v1/query?query=${encodeURIComponent(expression)}`
      const answer = (await (await fetch(url)).json()) as {
        readonly status: string
        readonly error?: string
        readonly data: { readonly result: readonly PrometheusSample[] }
      }
      if (answer.status !== 'success') throw new Error(`${expression}: ${answer.error}`)
      return answer.data.result
    },
  }
}
