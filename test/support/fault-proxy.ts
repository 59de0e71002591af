import type { AddressInfo } from 'node:net'
import { connect, createServer, type Server, type Socket } from 'node:net'

/** Fault of a proxy, for both directions of all connections, present and future. */
export type Fault =
  | 'none'
  /** Delivers each chunk after this delay. */
  | { readonly latencyMs: number }
  /** Holds the bytes of both directions. They are delivered in order when the fault ends. */
  | 'black-hole'
  /** Holds the bytes that clients send. */
  | 'hold-requests'
  /** Holds the bytes that the server sends. */
  | 'hold-answers'
  /** Discards the bytes of both directions. */
  | 'swallow'
  /** Resets all connections, and each new one once it is accepted. Held bytes are lost. */
  | 'reset'
  /** Answers each Redis command of a client with this text. The command does not reach the server. */
  | { readonly answer: string }

/** A TCP proxy in this process, in front of a real server. Its fault can be changed at any time. */
export class FaultProxy implements AsyncDisposable {
  readonly port: number
  #fault: Fault = 'none'
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #directions = new Set<Direction>()

  private constructor(server: Server) {
    this.#server = server
    this.port = (server.address() as AddressInfo).port
  }

  static async start(targetPort: number): Promise<FaultProxy> {
    const server = createServer()
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const proxy = new FaultProxy(server)
    server.on('connection', socket => proxy.#accept(socket, targetPort))
    return proxy
  }

  set fault(fault: Fault) {
    this.#fault = fault
    if (fault === 'reset') {
      for (const socket of this.#sockets) socket.resetAndDestroy()
      return
    }
    for (const direction of this.#directions) {
      if (!isHolding(fault, direction.isFromClient)) direction.releaseHeld()
    }
  }

  /** Number of chunks that are held or delayed now. */
  get heldChunks(): number {
    let count = 0
    for (const direction of this.#directions) count += direction.heldChunks
    return count
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    await new Promise<void>(resolve => this.#server.close(() => resolve()))
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }

  #accept(client: Socket, targetPort: number): void {
    if (this.#fault === 'reset') return void client.resetAndDestroy()
    const target = connect(targetPort, '127.0.0.1')
    this.#forward(client, target, true)
    this.#forward(target, client, false)
  }

  #forward(from: Socket, to: Socket, isFromClient: boolean): void {
    const direction = new Direction(to, isFromClient)
    from.setNoDelay(true)
    this.#sockets.add(from)
    this.#directions.add(direction)
    from.on('error', () => {})
    from.on('close', () => {
      this.#sockets.delete(from)
      this.#directions.delete(direction)
      to.destroy()
    })
    from.on('data', chunk => {
      const fault = this.#fault
      if (fault === 'swallow') return
      if (typeof fault !== 'object') direction.enqueue(chunk, isHolding(fault, isFromClient) ? Infinity : 0)
      else if ('latencyMs' in fault) direction.enqueue(chunk, fault.latencyMs)
      // A Redis command is an array. Sends one answer for each array that begins in the chunk.
      else if (isFromClient) {
        from.write(fault.answer.repeat(chunk.toString('latin1').match(/(^|\r\n)\*\d+\r\n\$/g)?.length ?? 0))
      }
      // Answers to commands from before the fault. Without them later answers would belong to the wrong commands.
      else direction.enqueue(chunk, 0)
    })
  }
}

function isHolding(fault: Fault, isFromClient: boolean): boolean {
  return fault === 'black-hole' || fault === (isFromClient ? 'hold-requests' : 'hold-answers')
}

/** One direction of a connection. Delivers chunks in order, each when it is due. */
class Direction {
  readonly isFromClient: boolean
  readonly #to: Socket
  readonly #chunks: { readonly bytes: Buffer; dueMs: number }[] = []

  constructor(to: Socket, isFromClient: boolean) {
    this.isFromClient = isFromClient
    this.#to = to
  }

  get heldChunks(): number {
    return this.#chunks.length
  }

  enqueue(bytes: Buffer, delayMs: number): void {
    this.#chunks.push({ bytes, dueMs: performance.now() + delayMs })
    this.#deliver()
    if (delayMs > 0 && delayMs < Infinity) setTimeout(() => this.#deliver(), delayMs + 1).unref()
  }

  /** Delivers the chunks that were held without a time limit. */
  releaseHeld(): void {
    for (const chunk of this.#chunks) if (chunk.dueMs === Infinity) chunk.dueMs = 0
    this.#deliver()
  }

  #deliver(): void {
    while (this.#chunks[0] !== undefined && this.#chunks[0].dueMs <= performance.now()) {
      this.#to.write(this.#chunks.shift()!.bytes)
    }
  }
}
