import { execFileSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { parse, parseAllDocuments } from 'yaml'
import { ENV_VARIABLES } from '../../src/cli/arguments/environment-variables.ts'
import { createProgram } from '../../src/cli/program.ts'
import { Gate } from '../../src/gate/gate.ts'
import { findUnsupported } from '../../src/gateway/capabilities.ts'
import { fakeTerminal } from '../src/cli/fake-terminal.ts'
import { ROOT } from '../support/built.ts'

const text = (path: string): string => readFileSync(join(ROOT, path), 'utf8')

/** Returns the long options of a command. */
function optionsOf(name: string): readonly (string | undefined)[] {
  const command = createProgram(fakeTerminal(), () => {}).commands.find(each => each.name() === name)!
  return command.options.map(({ long }) => long)
}

/** Returns the names of options in the words of a command line. */
function optionsIn(words: readonly string[]): readonly string[] {
  return words.filter(word => word.startsWith('--')).map(word => word.split('=')[0]!)
}

describe('the compose file of the gateway', () => {
  interface Service {
    readonly command?: readonly string[]
    readonly environment?: Readonly<Record<string, string>>
    readonly volumes?: readonly string[]
    readonly ports?: readonly string[]
  }
  const { services } = parse(text('docker-compose.gateway.yml')) as {
    readonly services: Readonly<Record<string, Service>>
  }
  const gateway = services.gateway!

  it('has Mosquitto behind the gateway only', () => {
    const upstream = new URL(gateway.command![gateway.command!.indexOf('--upstream') + 1]!)
    expect(Object.keys(services)).toContain(upstream.hostname)
    expect(services[upstream.hostname]!.ports).toBeUndefined()
    expect(text('config/mosquitto.conf')).toContain(`listener ${upstream.port}\n`)
    for (const port of gateway.ports!) expect(port).toMatch(/^127\.0\.0\.1:/)
  })

  it('uses options, variables and files there are', () => {
    for (const option of optionsIn(gateway.command!)) expect(optionsOf('gateway')).toContain(option)
    for (const name of Object.keys(gateway.environment!)) expect(Object.keys(ENV_VARIABLES)).toContain(name)
    const files = Object.values(services).flatMap(({ volumes = [] }) =>
      volumes.map(each => each.split(':')[0]!),
    )
    for (const file of files) expect(existsSync(join(ROOT, file)), file).toBe(true)
  })
})

describe.each(['gateway', 'broker'])('the systemd unit of the %s', command => {
  const file = `config/systemd/topicgate-${command}.service`
  const exec = /^ExecStart=((?:.*\\\n)*.*)$/m.exec(text(file))![1]!

  it('runs the command with options there are', () => {
    expect(exec).toContain(`main.js ${command} `)
    for (const option of optionsIn(exec.split(/\s+/))) expect(optionsOf(command)).toContain(option)
  })

  // systemd-analyze belongs to systemd, which containers and other systems than Linux do not have.
  it.skipIf(!existsSync('/usr/bin/systemd-analyze'))('is valid for systemd', () => {
    const output = execFileSync('/usr/bin/systemd-analyze', ['verify', join(ROOT, file)], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    expect(output).toBe('')
  })
})

describe('the manifest for Kubernetes', () => {
  interface Port {
    readonly name: string
    readonly containerPort: number
  }
  interface Container {
    readonly name: string
    readonly args?: readonly string[]
    readonly ports?: readonly Port[]
    readonly volumeMounts: readonly { readonly name: string; readonly mountPath: string }[]
    readonly readinessProbe?: { readonly httpGet: { readonly path: string; readonly port: string } }
    readonly livenessProbe?: { readonly httpGet: { readonly path: string; readonly port: string } }
  }
  interface StatefulSet {
    readonly spec: {
      readonly serviceName: string
      readonly selector: { readonly matchLabels: object }
      readonly template: {
        readonly metadata: { readonly labels: object }
        readonly spec: {
          readonly containers: readonly Container[]
          readonly volumes: readonly {
            readonly name: string
            readonly configMap: { readonly name: string }
          }[]
        }
      }
      readonly volumeClaimTemplates: readonly { readonly metadata: { readonly name: string } }[]
    }
  }
  interface Service {
    readonly metadata: { readonly name: string }
    readonly spec: { readonly selector: object; readonly ports: readonly { readonly targetPort: string }[] }
  }
  const documents = parseAllDocuments(text('config/kubernetes/gateway-sidecar.yml'))
  const objects = documents.map(
    document => document.toJS() as { readonly kind: string; readonly apiVersion: string },
  )
  const config = objects[0] as unknown as {
    readonly metadata: { readonly name: string }
    readonly data: Readonly<Record<string, string>>
  }
  const { spec } = objects[1] as unknown as StatefulSet
  const service = objects[2] as unknown as Service
  const [topicgate, mosquitto] = spec.template.spec.containers as [Container, Container]

  it('has valid YAML and objects of known kinds', () => {
    expect(documents.flatMap(({ errors, warnings }) => [...errors, ...warnings])).toEqual([])
    expect(objects.map(({ apiVersion, kind }) => `${apiVersion} ${kind}`)).toEqual([
      'v1 ConfigMap',
      'apps/v1 StatefulSet',
      'v1 Service',
    ])
  })

  it('connects its parts: labels, ports, probes and volumes', () => {
    expect(spec.template.metadata.labels).toEqual(spec.selector.matchLabels)
    expect(service.spec.selector).toEqual(spec.selector.matchLabels)
    expect(service.metadata.name).toBe(spec.serviceName)
    const ports = topicgate.ports!.map(({ name }) => name)
    for (const { targetPort } of service.spec.ports) expect(ports).toContain(targetPort)
    expect(topicgate.readinessProbe!.httpGet).toEqual({ path: '/ready', port: 'health' })
    expect(topicgate.livenessProbe!.httpGet).toEqual({ path: '/live', port: 'health' })
    const volumes = [
      ...spec.template.spec.volumes,
      ...spec.volumeClaimTemplates.map(({ metadata }) => metadata),
    ]
    for (const { volumeMounts } of [topicgate, mosquitto])
      for (const { name } of volumeMounts) expect(volumes.map(volume => volume.name)).toContain(name)
    for (const { configMap } of spec.template.spec.volumes) expect(configMap.name).toBe(config.metadata.name)
  })

  it('runs the gateway in front of Mosquitto, with a policy it can enact', async () => {
    expect(topicgate.args![0]).toBe('gateway')
    for (const option of optionsIn(topicgate.args!)) expect(optionsOf('gateway')).toContain(option)
    const readOption = (option: string): string | undefined =>
      topicgate.args!.find(word => word.startsWith(`--${option}=`))?.split('=')[1]
    for (const { name, containerPort } of topicgate.ports!)
      expect(readOption(name === 'mqtt' ? 'port' : name)).toBe(String(containerPort))
    const upstream = new URL(readOption('upstream')!)
    expect(config.data['mosquitto.conf']).toContain(`listener ${upstream.port} ${upstream.hostname}\n`)
    const [mount] = topicgate.volumeMounts
    const file = readOption('policy')!.replace(`${mount!.mountPath}/`, '')
    await using gate = await Gate.fromPolicy(parse(config.data[file]!) as object)
    expect(findUnsupported(gate, 'the MQTT gateway')).toEqual([])
    expect(gate.rules().length).toBe(3)
  })
})
