import type { AddressInfo } from 'node:net'
import { connect, createServer, type Server, type Socket } from 'node:net'

/**
 * What becomes of what passes: nothing, a delay of each chunk by so many milliseconds, silence (bytes are held, and
 * delivered when it ends, as TCP would), no new connections and an end to the old ones, a reset of all, or an answer
 * of Redis in place of its own to everything that is asked.
 */
export type Fault =
  | 'none'
  | { readonly latencyMs: number }
  | 'black-hole'
  | 'refuse'
  | 'reset'
  | { readonly answer: string }

/** A TCP proxy of this process before a real server, whose faults can be switched at any time. */
export class FaultProxy implements AsyncDisposable {
  readonly port: number
  #fault: Fault = 'none'
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #held: (() => void)[] = []

  private constructor(server: Server) {
    this.#server = server
    this.port = (server.address() as AddressInfo).port
  }

  static async start(targetPort: number): Promise<FaultProxy> {
    const server = createServer()
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const proxy = new FaultProxy(server)
    server.on('connection', socket => proxy.#join(socket, targetPort))
    return proxy
  }

  set fault(fault: Fault) {
    this.#fault = fault
    const held = this.#held.splice(0)
    if (fault !== 'black-hole') for (const deliver of held) deliver()
    if (fault === 'refuse' || fault === 'reset') for (const socket of this.#sockets) socket.resetAndDestroy()
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise<void>(resolve => this.#server.close(() => resolve()))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  #join(client: Socket, targetPort: number): void {
    if (this.#fault === 'refuse' || this.#fault === 'reset') return void client.resetAndDestroy()
    const target = connect(targetPort, '127.0.0.1')
    for (const [from, to] of [
      [client, target],
      [target, client],
    ] as const) {
      from.setNoDelay(true)
      this.#sockets.add(from)
      from.on('error', () => {})
      from.on('close', () => {
        this.#sockets.delete(from)
        to.destroy()
      })
      from.on('data', chunk => this.#pass(chunk, from === client, from, to))
    }
  }

  #pass(chunk: Buffer, isQuestion: boolean, from: Socket, to: Socket): void {
    const fault = this.#fault
    if (fault === 'black-hole') return void this.#held.push(() => to.write(chunk))
    if (typeof fault !== 'object') return void to.write(chunk)
    if ('latencyMs' in fault) {
      setTimeout(() => to.write(chunk), fault.latencyMs).unref()
      return
    }
    // A command of Redis is an array: one answer for each that begins in the chunk.
    if (isQuestion)
      from.write(fault.answer.repeat(chunk.toString('latin1').match(/(^|\r\n)\*\d+\r\n\$/g)?.length ?? 0))
  }
}
