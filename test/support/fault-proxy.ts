import type { AddressInfo } from 'node:net'
import { connect, createServer, type Server, type Socket } from 'node:net'

/**
 * What becomes of what passes: nothing, a delay of each chunk by so many milliseconds, silence (bytes are held, and
 * delivered when it ends, as TCP would), the same for what clients or servers send, bytes that are lost, also those of new connections, no new connections and an end to the old ones, a reset of all, or an answer
 * of Redis in place of its own to everything that is asked.
 */
export type Fault =
  | 'none'
  | { readonly latencyMs: number }
  | 'black-hole'
  | 'hold-requests'
  | 'hold-answers'
  | 'swallow'
  | 'refuse'
  | 'reset'
  | { readonly answer: string }

/** A TCP proxy of this process before a real server, whose faults can be switched at any time. */
export class FaultProxy implements AsyncDisposable {
  readonly port: number
  #fault: Fault = 'none'
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #ways = new Set<Way>()

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
    // What is held of connections that end is lost.
    if (fault === 'refuse' || fault === 'reset') for (const socket of this.#sockets) socket.resetAndDestroy()
    else for (const way of this.#ways) if (!isHolding(fault, way.isQuestion)) way.open()
  }

  /** Number of chunks that are held back now. */
  get heldChunks(): number {
    let count = 0
    for (const way of this.#ways) count += way.heldChunks
    return count
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
    this.#lead(client, target, true)
    this.#lead(target, client, false)
  }

  #lead(from: Socket, to: Socket, isQuestion: boolean): void {
    const way = new Way(to, isQuestion)
    from.setNoDelay(true)
    this.#sockets.add(from)
    this.#ways.add(way)
    from.on('error', () => {})
    from.on('close', () => {
      this.#sockets.delete(from)
      this.#ways.delete(way)
      to.destroy()
    })
    from.on('data', chunk => {
      const fault = this.#fault
      if (fault === 'swallow') return
      if (typeof fault !== 'object') way.take(chunk, isHolding(fault, isQuestion) ? Infinity : 0)
      else if ('latencyMs' in fault) way.take(chunk, fault.latencyMs)
      // A command of Redis is an array: one answer for each that begins in the chunk.
      else if (isQuestion) {
        from.write(fault.answer.repeat(chunk.toString('latin1').match(/(^|\r\n)\*\d+\r\n\$/g)?.length ?? 0))
      }
      // Answers to what was asked before the fault. Without them all later answers would belong to other commands.
      else way.take(chunk, 0)
    })
  }
}

function isHolding(fault: Fault, isQuestion: boolean): boolean {
  return fault === 'black-hole' || fault === (isQuestion ? 'hold-requests' : 'hold-answers')
}

/** One direction of a connection: what is held back is delivered in its order. */
class Way {
  readonly isQuestion: boolean
  readonly #to: Socket
  readonly #chunks: { readonly bytes: Buffer; dueMs: number }[] = []

  constructor(to: Socket, isQuestion: boolean) {
    this.isQuestion = isQuestion
    this.#to = to
  }

  get heldChunks(): number {
    return this.#chunks.length
  }

  take(bytes: Buffer, delayMs: number): void {
    this.#chunks.push({ bytes, dueMs: performance.now() + delayMs })
    this.#deliver()
    if (delayMs > 0 && delayMs < Infinity) setTimeout(() => this.#deliver(), delayMs + 1).unref()
  }

  /** Delivers what was held for ever. */
  open(): void {
    for (const chunk of this.#chunks) if (chunk.dueMs === Infinity) chunk.dueMs = 0
    this.#deliver()
  }

  #deliver(): void {
    while (this.#chunks[0] !== undefined && this.#chunks[0].dueMs <= performance.now()) {
      this.#to.write(this.#chunks.shift()!.bytes)
    }
  }
}
