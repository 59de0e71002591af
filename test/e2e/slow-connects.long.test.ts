import { readFileSync } from 'node:fs'
import { beforeAll, describe, expect, it } from 'vitest'
import { packageFile } from '../../src/core/package-files.ts'
import { Folder } from '../src/cli/folder.ts'
import { ensureBuilt } from '../support/built.ts'
import { runFleet } from '../support/fleet.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { startNats } from '../support/nats.ts'
import type { Program } from '../support/program.ts'
import { logged, startCommand } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

/** Longer than a socket may be silent before its CONNECT. */
const LENGTH = '25s'
const FLEET = readFileSync(packageFile('config/fleets/slowloris.yaml'), 'utf8')

/** Runs the fleet against a program that listens. The groups of the fleet have expectations. */
async function expectNoLoss(program: Program, protocol: 'mqtt' | 'nats'): Promise<void> {
  const { port } = await logged(program, /ready/)
  const fleet = protocol === 'mqtt' ? FLEET : FLEET.replaceAll(/(?<=topic: .*)\//g, '.')
  const [sensors, slow, endless] = await runFleet(fleet, `${protocol}://127.0.0.1:${port}`, '--for', LENGTH)
  expect(sensors!.messages).toBeGreaterThan(200)
  expect(sensors).toMatchObject({ delivered: sensors!.messages, disordered: 0 })
  expect(slow!.connects).toBeGreaterThanOrEqual(slow!.devices)
  // Connections without a CONNECT were closed, and others followed.
  expect(endless!.connects).toBeGreaterThan(1.5 * endless!.devices)
}

describe.concurrent('ordinary devices beside 500 connections that are slow to connect lose nothing', () => {
  it('at topicgate broker', async () => {
    await using broker = startCommand('broker', '--policy', 'fleet', '--port', '0')
    await expectNoLoss(broker, 'mqtt')
  })

  it('at topicgate gateway in front of Mosquitto', async () => {
    await using mosquitto = await startMosquitto()
    await using gateway = startCommand(
      ...['gateway', '--policy', 'fleet', '--upstream', mosquitto.url, '--port', '0'],
    )
    await expectNoLoss(gateway, 'mqtt')
  })

  it('at topicgate gateway in front of a NATS server', async () => {
    using folder = new Folder()
    await using nats = await startNats()
    const policy = folder.file(
      'policy.yaml',
      'dialect: nats\nrules: [{ name: all, per: client, limit: 10/s }]\n',
    )
    await using gateway = startCommand('gateway', policy, '--upstream', nats.url, '--port', '0')
    await expectNoLoss(gateway, 'nats')
  })
})
