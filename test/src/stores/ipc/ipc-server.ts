import type { Clock } from '../../../../src/core/clock.ts'
import type { StoreChannel } from '../../../../src/stores/ipc/ipc-store-types.ts'
import { IpcStoreServer } from '../../../../src/stores/ipc/store-server.ts'
import { MemorySharedEntries } from '../../../../src/stores/memory/memory-shared-entries.ts'
import { MemoryStore } from '../../../../src/stores/memory/memory-store.ts'

/** A server whose channels copy what they carry, as those between processes do. */
export function ipcServer(clock: Clock): {
  readonly store: MemoryStore
  readonly entries: MemorySharedEntries
  connect(): StoreChannel
} {
  const store = new MemoryStore({ clock })
  const entries = new MemorySharedEntries(clock)
  const server = new IpcStoreServer(store, entries)
  return {
    store,
    entries,
    connect: () => ({
      request: async request => structuredClone(server.answer(structuredClone(request))),
      onEntriesChanged: listener => {
        const watch = entries.watch(listener)
        return () => watch.close()
      },
    }),
  }
}
