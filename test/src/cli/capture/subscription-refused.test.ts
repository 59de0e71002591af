import { describe, expect, it } from 'vitest'
import { startMqttServer } from '../../../../src/cli/broker/mqtt-server.ts'
import { Gate } from '../../../../src/index.ts'
import { startNats } from '../../../support/nats.ts'
import { runCommand } from '../fake-terminal.ts'
import { Folder } from '../folder.ts'

interface RefusingBroker extends AsyncDisposable {
  readonly url: string
}

async function startRefusingMqtt(): Promise<RefusingBroker> {
  const rule = { name: 'none', on: 'subscribe', limit: '1/day', cost: 2, exceeded: 'reject' }
  const gate = await Gate.fromPolicy({ rules: [rule] })
  const server = await startMqttServer({ gate, host: '127.0.0.1', port: 0 })
  const close = async (): Promise<void> => {
    await server.close(0)
    await gate.close()
  }
  return { url: `mqtt://127.0.0.1:${server.port}`, [Symbol.asyncDispose]: close }
}

async function startRefusingNats(): Promise<RefusingBroker> {
  const config =
    'authorization: { users: [{ user: a, password: b, permissions: { subscribe: { deny: "x.>" } } }] }'
  const server = await startNats({ config })
  return { ...server, url: server.url.replace('//', '//a:b@') }
}

describe.each([
  ['an MQTT broker', startRefusingMqtt, 'x/#'],
  ['a NATS server', startRefusingNats, 'x.>'],
] as const)('%s that allows no subscription', (_, start, filter) => {
  it('ends a capture and a simulation, with the subscription and exit code 77', async () => {
    await using broker = await start()
    using folder = new Folder()
    const topic = filter.replace(/[#>]$/, '{client}')
    const fleet = folder.file('f.yaml', `fleet: [{ name: a, topic: "${topic}", send: { every: 1s } }]`)
    const capture = await runCommand(['capture', '--from', broker.url, '--subscribe', filter])
    const simulation = await runCommand(['simulate', fleet, '--broker', broker.url])
    const refused = (text: string) => [
      77,
      expect.stringContaining(`the broker refuses to subscribe to ${text}: `),
    ]
    expect([capture.exitCode, capture.err]).toEqual(refused(filter))
    expect([simulation.exitCode, simulation.err]).toEqual(
      refused(filter.replace(/#$/, '+').replace(/>$/, '*')),
    )
  })
})
