import { StoreError } from '../../core/errors.ts'

/** The other end of a channel: a child process, or this process as seen from a child. */
export interface ChannelPeer {
  send(message: object, callback: (error: Error | null) => void): unknown
  on(event: 'message', listener: (message: unknown) => void): unknown
  on(event: 'disconnect', listener: () => void): unknown
}

/** Functions that the other process may call. */
export type Calls<Api> = { readonly [Name in keyof Api]: (...input: never[]) => unknown }

type ChannelMessage =
  | { readonly kind: 'call'; readonly id: number; readonly name: string; readonly input: readonly unknown[] }
  | { readonly kind: 'value'; readonly id: number; readonly value: unknown }
  | { readonly kind: 'error'; readonly id: number; readonly message: string }

interface PendingCall {
  resolve(value: never): void
  reject(error: Error): void
}

/** Calls of functions between a primary process and a worker, in both directions. Calls arrive in order. */
export class ProcessChannel<Remote extends Calls<Remote>, Local extends Calls<Local>> {
  readonly #peer: ChannelPeer
  readonly #local: Local
  readonly #pending = new Map<number, PendingCall>()
  #lastId = 0
  #isClosed = false

  constructor(peer: ChannelPeer, local: Local) {
    this.#peer = peer
    this.#local = local
    peer.on('message', message => void this.#receive(message as ChannelMessage))
    peer.on('disconnect', () => this.#close())
  }

  /** Calls a function of the other process. Rejects with its error, or with StoreError if the process is gone. */
  call<Name extends keyof Remote & string>(
    name: Name,
    ...input: Parameters<Remote[Name]>
  ): Promise<Awaited<ReturnType<Remote[Name]>>> {
    if (this.#isClosed) return Promise.reject(processGone())
    return new Promise((resolve, reject) => {
      const id = ++this.#lastId
      this.#pending.set(id, { resolve, reject })
      this.#send({ kind: 'call', id, name, input })
    })
  }

  async #receive(message: ChannelMessage): Promise<void> {
    const { kind, id } = message
    if (kind !== 'call') {
      const pending = this.#pending.get(id)
      this.#pending.delete(id)
      if (kind === 'value') pending?.resolve(message.value as never)
      else pending?.reject(new Error(message.message))
      return
    }
    try {
      const run = this.#local[message.name as keyof Local]
      // A synchronous function answers at once, in the order of the calls.
      const result = run(...(message.input as never[]))
      this.#send({ kind: 'value', id, value: result instanceof Promise ? await result : result })
    } catch (error) {
      this.#send({ kind: 'error', id, message: error instanceof Error ? error.message : String(error) })
    }
  }

  #send(message: ChannelMessage): void {
    if (this.#isClosed) return
    this.#peer.send(message, error => {
      if (error !== null) this.#close()
    })
  }

  #close(): void {
    this.#isClosed = true
    for (const { reject } of this.#pending.values()) reject(processGone())
    this.#pending.clear()
  }
}

function processGone(): StoreError {
  return new StoreError('the other process of --workers is gone (see its log)')
}
