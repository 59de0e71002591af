import type { Socket } from 'node:net'
import { addressKey } from '../conditions/address-network.ts'
import { callIfLate, systemClock } from '../core/clock.ts'

export interface SilentSocketOptions {
  /** Maximum time for a socket to send its CONNECT. */
  readonly silentMs: number
  /** Maximum sockets without a CONNECT, in total and per address. */
  readonly maxSilent: number
  readonly maxSilentPerIp: number
}

interface SilentSocket {
  /** Key of the address it counts for; undefined if that is shared by many clients. */
  key: string | undefined
  readonly cancelTimeout: () => void
}

/** Bounds the sockets that have not sent a CONNECT yet: their number, in total and per address, and their time. */
export class SilentSockets {
  readonly #options: SilentSocketOptions
  readonly #sockets = new Map<object, SilentSocket>()
  readonly #perKey = new Map<string, number>()
  #refused = 0
  #expired = 0

  constructor(options: SilentSocketOptions) {
    this.#options = options
  }

  get stats(): { readonly silent: number; readonly refused: number; readonly expired: number } {
    return { silent: this.#sockets.size, refused: this.#refused, expired: this.#expired }
  }

  /**
   * Adds a new socket, or destroys it and returns false. `ip` is undefined if many clients share its address, such as
   * that of a proxy.
   */
  add(socket: Socket, ip: string | undefined): boolean {
    const { silentMs, maxSilent } = this.#options
    const key = ip === undefined ? undefined : addressKey(ip)
    if (this.#sockets.size >= maxSilent || this.#isFull(key)) return this.#refuse(socket)
    const cancelTimeout = callIfLate(systemClock, silentMs, () => {
      this.#expired++
      socket.destroy()
    })
    this.#sockets.set(socket, { key, cancelTimeout })
    this.#count(key, 1)
    socket.once('close', () => this.remove(socket))
    return true
  }

  /** Counts a socket for the address that a proxy has reported; destroys it and returns false if that has too many. */
  assignAddress(socket: Socket, ip: string): boolean {
    const silent = this.#sockets.get(socket)
    if (silent === undefined) return true
    const key = addressKey(ip)
    if (this.#isFull(key)) return this.#refuse(socket)
    this.#count(silent.key, -1)
    silent.key = key
    this.#count(key, 1)
    return true
  }

  /** Removes a socket that has sent its CONNECT. */
  remove(socket: object): void {
    const silent = this.#sockets.get(socket)
    if (silent === undefined) return
    silent.cancelTimeout()
    this.#sockets.delete(socket)
    this.#count(silent.key, -1)
  }

  clear(): void {
    for (const socket of [...this.#sockets.keys()]) this.remove(socket)
  }

  #isFull(key: string | undefined): boolean {
    return key !== undefined && (this.#perKey.get(key) ?? 0) >= this.#options.maxSilentPerIp
  }

  #refuse(socket: Socket): false {
    this.#refused++
    socket.destroy()
    return false
  }

  #count(key: string | undefined, change: 1 | -1): void {
    if (key === undefined) return
    const count = (this.#perKey.get(key) ?? 0) + change
    if (count === 0) this.#perKey.delete(key)
    else this.#perKey.set(key, count)
  }
}
