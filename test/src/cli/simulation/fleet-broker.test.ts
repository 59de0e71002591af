import { describe, expect, it } from 'vitest'
import { MAX_PENDING_MESSAGES } from '../../../../src/cli/simulation/fleet-broker.ts'
import { openMqttBroker } from '../../../../src/cli/simulation/mqtt-fleet-broker.ts'
import { openNatsBroker } from '../../../../src/cli/simulation/nats-fleet-broker.ts'
import { startMosquitto } from '../../../support/mosquitto.ts'
import { startNats } from '../../../support/nats.ts'
import { until } from '../../../support/wait.ts'

const MESSAGE = {
  topic: 't',
  payload: Buffer.from('x'),
  qos: 1,
  retain: false,
  isRedelivered: false,
} as const

/** Keeps more messages for the subscriber than it does by default. */
const startBroker = () => startMosquitto({ config: ['max_queued_messages 10000'] })

describe.each([
  ['an MQTT broker', startBroker, openMqttBroker],
  ['a NATS server', startNats, openNatsBroker],
] as const)('a device of a fleet at %s', (_, start, open) => {
  it('keeps a bounded number of messages while the broker stands still, and goes on behind them', async () => {
    await using server = await start()
    let delivered = 0
    const broker = await open(new URL(server.url), ['t'], () => delivered++)
    const device = broker.connect({ sender: { client: 'd' }, slowMs: undefined, onLost: () => {} })
    let sent = 1
    device.publish(MESSAGE)
    await until(() => delivered === 1)
    process.kill(server.pid, 'SIGSTOP')
    try {
      while (sent <= 2 * MAX_PENDING_MESSAGES && device.publish(MESSAGE)) sent++
    } finally {
      process.kill(server.pid, 'SIGCONT')
    }
    // The first one may count, too.
    expect(sent).toBeGreaterThanOrEqual(MAX_PENDING_MESSAGES)
    expect(sent).toBeLessThanOrEqual(MAX_PENDING_MESSAGES + 1)
    await until(() => device.publish(MESSAGE), { what: 'room' })
    await until(() => delivered === sent + 1, { what: () => `${sent + 1} deliveries, not ${delivered}` })
    device.close()
    await broker.close()
  })
})
