import { beforeAll, it } from 'vitest'
import { Folder } from '../src/cli/folder.ts'
import { ensureBuilt } from '../support/built.ts'
import { expectNothingLostByKills } from './broker-crash-load.ts'
import { DurableBroker } from './durable-broker.ts'

beforeAll(ensureBuilt, 120_000)

it('no acknowledged message is lost when the broker behind a gateway is killed twice under load', async () => {
  using folder = new Folder()
  await using broker = await DurableBroker.start(folder.path)
  await expectNothingLostByKills(folder, broker, 2)
})
