import { IpcStore } from '../../src/stores/ipc/store.ts'
import { ipcServer } from '../src/stores/ipc/ipc-server.ts'
import { storeConformance } from './store-suite.ts'

/** Few histories: the arithmetic is that of the memory store. */
const HISTORIES = 10

storeConformance(
  'ipc',
  clock => {
    const server = ipcServer(clock)
    const store = new IpcStore(server.connect())
    return Object.assign(store, {
      close: async () => {
        await IpcStore.prototype.close.call(store)
        await server.store.close()
      },
    })
  },
  { histories: HISTORIES },
)
