import { beforeAll, describe, it } from 'vitest'
import { Folder } from '../src/cli/folder.ts'
import { ensureBuilt } from '../support/built.ts'
import { FaultProxy } from '../support/fault-proxy.ts'
import { BrokerCrashLoad, expectNothingLostByKills, startLoadGateway } from './broker-crash-load.ts'
import { DurableBroker } from './durable-broker.ts'

beforeAll(ensureBuilt, 120_000)

/** Short, because clients notice only by their keepalive that a broker has fallen silent. */
const KEEPALIVE_S = 1

describe('no acknowledged message is lost when the broker behind a gateway', () => {
  it('is killed ten times under load', async () => {
    using folder = new Folder()
    await using broker = await DurableBroker.start(folder.path)
    await expectNothingLostByKills(folder, broker, 10)
  })

  it('stands still, or its connections do or are reset', async () => {
    using folder = new Folder()
    await using broker = await DurableBroker.start(folder.path)
    await using proxy = await FaultProxy.start(broker.port)
    await using gateway = await startLoadGateway(folder, proxy.port)
    const load = new BrokerCrashLoad(gateway.port, KEEPALIVE_S)
    try {
      await load.goOn()
      for (const fault of ['black-hole', 'reset', 'hold-answers', 'hold-requests'] as const) {
        await load.during(() => {
          proxy.fault = fault
        })
        proxy.fault = 'none'
        await load.goOn()
      }
      await load.during(() => broker.signal('SIGSTOP'))
      broker.signal('SIGCONT')
      await load.goOn()
      await load.finish()
      load.expectRecorded(broker.file)
    } finally {
      await load.end()
    }
  })
})
