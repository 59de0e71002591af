import { existsSync, readFileSync, statSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { Redis } from 'ioredis'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { ENV_VARIABLES } from '../../src/cli/arguments/environment-variables.ts'
import { createProgram } from '../../src/cli/program.ts'
import { fakeTerminal } from '../src/cli/fake-terminal.ts'
import { ROOT } from '../support/built.ts'
import { startServer } from '../support/server.ts'

interface Service {
  readonly image?: string
  readonly build?: string
  readonly command?: readonly string[]
  readonly environment?: Readonly<Record<string, string>>
  readonly volumes?: readonly string[]
  readonly ports?: readonly string[]
  readonly healthcheck?: { readonly test: readonly string[] }
  readonly depends_on?: readonly string[]
}

const text = (path: string): string => readFileSync(join(ROOT, path), 'utf8')
const { services, volumes } = parse(text('docker-compose.yml')) as {
  readonly services: Readonly<Record<string, Service>>
  readonly volumes: object
}
const broker = services.broker!

/** Flags of the command `broker`, as the program knows them. */
const flags = createProgram(fakeTerminal(), () => {})
  .commands.find(command => command.name() === 'broker')!
  .options.flatMap(({ long, short }) => [long, short])

describe('the compose file', () => {
  it('starts Redis, NATS, Mosquitto, the broker, Prometheus and Grafana', () => {
    const names = ['redis', 'nats', 'mosquitto', 'broker', 'prometheus', 'grafana']
    expect(Object.keys(services)).toEqual(names)
    for (const [name, service] of Object.entries(services)) {
      expect([service.image ?? service.build], name).not.toContain(undefined)
      for (const other of service.depends_on ?? []) expect(Object.keys(services)).toContain(other)
    }
  })

  it('mounts files that are there', () => {
    const mounts = Object.values(services).flatMap(service => service.volumes ?? [])
    const files = mounts.map(mount => mount.split(':')[0]!).filter(path => path.startsWith('./'))
    expect(files).toHaveLength(8)
    for (const file of files) expect(statSync(join(ROOT, file)).isFile(), file).toBe(true)
    const named = mounts.map(mount => mount.split(':')[0]!).filter(path => !path.startsWith('./'))
    expect(named).toEqual(Object.keys(volumes))
  })

  it('opens ports on this machine only, each once', () => {
    const ports = Object.values(services).flatMap(service => service.ports ?? [])
    for (const port of ports) expect(port).toMatch(/^127\.0\.0\.1:\d+:\d+$/)
    const outside = ports.map(port => port.split(':')[1])
    expect(new Set(outside).size).toBe(ports.length)
  })

  it('runs the broker with flags and variables there are', () => {
    for (const word of broker.command!.filter(each => each.startsWith('-'))) expect(flags).toContain(word)
    for (const name of Object.keys(broker.environment!)) expect(Object.keys(ENV_VARIABLES)).toContain(name)
    const policy = broker.environment!.TOPICGATE_POLICY!
    expect(broker.volumes!.some(mount => mount.endsWith(`:${policy}:ro`))).toBe(true)
    expect(Object.keys(services)).toContain(new URL(broker.environment!.TOPICGATE_STORE!).hostname)
  })

  it('asks the broker for its readiness where it tells of it', () => {
    const port = broker.environment!.TOPICGATE_HEALTH
    expect(broker.healthcheck!.test.join(' ')).toContain(`http://127.0.0.1:${port}/ready`)
    const inside = broker.ports!.map(each => each.split(':')[2])
    const { command = [] } = broker
    const spoken = ['--port', '--ws'].map(flag => command[command.indexOf(flag) + 1])
    expect(inside).toEqual([...spoken, port])
  })
})

describe('Prometheus and Grafana in the compose file', () => {
  const { prometheus, grafana } = services
  const config = parse(text('config/prometheus/prometheus.yml')) as {
    readonly global: { readonly scrape_interval: string }
    readonly rule_files: readonly string[]
    readonly scrape_configs: readonly {
      readonly static_configs: readonly { readonly targets: readonly string[] }[]
    }[]
  }
  const { datasources } = parse(text('config/grafana/datasources.yml')) as {
    readonly datasources: readonly {
      readonly type: string
      readonly url: string
      readonly isDefault: boolean
      readonly jsonData: { readonly timeInterval: string }
    }[]
  }
  const { providers } = parse(text('config/grafana/dashboards.yml')) as {
    readonly providers: readonly { readonly type: string; readonly options: { readonly path: string } }[]
  }

  /** Returns the path inside the container of a mounted file. */
  const mountOf = (service: Service | undefined, file: string): string | undefined =>
    service?.volumes?.find(mount => mount.startsWith(`./${file}:`))?.split(':')[1]

  it('scrapes the broker where it serves its metrics', () => {
    const targets = config.scrape_configs.flatMap(job => job.static_configs.flatMap(each => each.targets))
    expect(targets).toEqual([`broker:${broker.environment!.TOPICGATE_HEALTH}`])
  })

  it('gives Prometheus its configuration where it looks for it, and the rules beside it', () => {
    expect(mountOf(prometheus, 'config/prometheus/prometheus.yml')).toBe('/etc/prometheus/prometheus.yml')
    const rules = config.rule_files.map(name => mountOf(prometheus, `config/prometheus/${name}`))
    expect(rules).toEqual(config.rule_files.map(name => `/etc/prometheus/${name}`))
  })

  it('gives Grafana the data source and the dashboard where it looks for them', () => {
    const provisioning = '/etc/grafana/provisioning'
    expect(dirname(mountOf(grafana, 'config/grafana/datasources.yml')!)).toBe(`${provisioning}/datasources`)
    expect(dirname(mountOf(grafana, 'config/grafana/dashboards.yml')!)).toBe(`${provisioning}/dashboards`)
    expect(providers.map(({ type }) => type)).toEqual(['file'])
    expect(dirname(mountOf(grafana, 'config/grafana/topicgate.json')!)).toBe(providers[0]!.options.path)
  })

  it('connects Grafana to this Prometheus, which the dashboard selects by default', () => {
    expect(datasources).toHaveLength(1)
    const [{ type, url, isDefault, jsonData }] = datasources as [(typeof datasources)[0]]
    expect({ type, isDefault }).toEqual({ type: 'prometheus', isDefault: true })
    const { hostname, port } = new URL(url)
    expect(Object.keys(services)).toContain(hostname)
    expect(services[hostname]!.ports?.map(each => each.split(':')[2])).toContain(port)
    expect(jsonData.timeInterval).toBe(config.global.scrape_interval)
    const { templating } = JSON.parse(text('config/grafana/topicgate.json')) as {
      readonly templating: { readonly list: readonly object[] }
    }
    expect(templating.list).toContainEqual(
      expect.objectContaining({ name: 'datasource', type: 'datasource', query: type }),
    )
  })

  it('opens the dashboard at the address that docs/metrics.md names', () => {
    const { uid } = JSON.parse(text('config/grafana/topicgate.json')) as { readonly uid: string }
    const port = grafana!.ports![0]!.split(':')[1]
    expect(text('docs/metrics.md')).toContain(`<http://localhost:${port}/d/${uid}>`)
    expect(grafana!.environment).toMatchObject({ GF_AUTH_ANONYMOUS_ENABLED: 'true' })
  })
})

describe('the image', () => {
  it('copies what is there and runs the command of this package', () => {
    const lines = text('Dockerfile').split('\n')
    const bin = (JSON.parse(text('package.json')) as { bin: { topicgate: string } }).bin.topicgate
    expect(lines).toContain(`ENTRYPOINT ["node", "${bin}"]`)
    const command = JSON.parse(lines.find(line => line.startsWith('CMD '))!.slice(4)) as string[]
    for (const word of command.filter(each => each.startsWith('-'))) expect(flags).toContain(word)
    expect(existsSync(join(ROOT, command[command.indexOf('--policy') + 1]!))).toBe(true)
    const { devDependencies } = JSON.parse(text('package.json')) as {
      devDependencies: Readonly<Record<string, string>>
    }
    expect(text('Dockerfile')).toContain(`ioredis@${devDependencies.ioredis}`)
  })
})

describe('config/redis.conf', () => {
  it('is what Redis starts with: it evicts nothing, and keeps what it has', async () => {
    await using server = await startServer({
      program: 'redis-server',
      variable: 'TOPICGATE_REDIS_SERVER',
      args: (port, folder) => [
        join(ROOT, 'config/redis.conf'),
        ...['--port', String(port), '--bind', '127.0.0.1', '--dir', folder],
      ],
    })
    const client = new Redis(server.port)
    expect(await client.config('GET', 'maxmemory-policy')).toEqual(['maxmemory-policy', 'noeviction'])
    expect(await client.config('GET', 'appendonly')).toEqual(['appendonly', 'yes'])
    await client.quit()
  })
})

describe('docs/deployment.md', () => {
  it('names the variables there are, with what they mean', () => {
    const rows = [...text('docs/deployment.md').matchAll(/^\| `(TOPICGATE_\w+)` \| (.*) \| .* \|$/gm)]
    expect(Object.fromEntries(rows.map(([, name, meaning]) => [name, meaning]))).toEqual(ENV_VARIABLES)
  })
})
