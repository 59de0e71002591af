import type { Clock } from '../../core/clock.ts'
import type { StoreAnswer, StoreRequest } from '../../stores/ipc/ipc-store-types.ts'
import { IpcStoreServer } from '../../stores/ipc/store-server.ts'
import { MemorySharedEntries } from '../../stores/memory/memory-shared-entries.ts'
import { MemoryStore } from '../../stores/memory/memory-store.ts'

/** Store of the primary, which its own gate uses directly and its workers by messages. */
export class PrimaryStore extends MemoryStore {
  readonly sharedEntries: MemorySharedEntries
  readonly #server: IpcStoreServer

  constructor(clock: Clock) {
    super({ clock })
    this.sharedEntries = new MemorySharedEntries(clock)
    this.#server = new IpcStoreServer(this, this.sharedEntries)
  }

  answer(request: StoreRequest): readonly StoreAnswer[] {
    return this.#server.answer(request)
  }
}
