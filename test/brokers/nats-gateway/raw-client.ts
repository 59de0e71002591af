import { connect, type Socket } from 'node:net'
import { until } from '../../support/wait.ts'

/** A client that sends the given bytes and records received ones. */
export class RawClient implements AsyncDisposable {
  readonly socket: Socket
  received = ''
  isClosed = false

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', chunk => {
      this.received += chunk.toString('latin1')
    })
    socket.on('error', () => {})
    socket.on('close', () => {
      this.isClosed = true
    })
  }

  /** Connects, sends `firstBytes`, and waits for the INFO. */
  static async open(port: number, firstBytes?: Buffer): Promise<RawClient> {
    const client = new RawClient(connect({ port, host: '127.0.0.1', noDelay: true }))
    if (firstBytes !== undefined) client.socket.write(firstBytes)
    await client.receives('INFO ')
    await client.receives('\r\n')
    return client
  }

  get info(): Record<string, unknown> {
    return JSON.parse(this.received.slice(5, this.received.indexOf('\r\n'))) as Record<string, unknown>
  }

  /** Received lines behind the INFO. */
  get lines(): string[] {
    return this.received.split('\r\n').slice(1, -1)
  }

  send(text: string): void {
    this.socket.write(text, 'latin1')
  }

  /** Sends a CONNECT, and waits until it is accepted. */
  async connect(fields: object = {}): Promise<void> {
    this.send(`CONNECT ${JSON.stringify({ verbose: false, headers: true, ...fields })}\r\nPING\r\n`)
    await this.receives('PONG\r\n')
  }

  /** Waits until the server has handled and answered everything that was sent. */
  async flush(): Promise<void> {
    const before = this.count('PONG')
    this.send('PING\r\n')
    await until(() => this.count('PONG') > before, { what: () => `a PONG after ${this.received}` })
  }

  count(line: string): number {
    return this.lines.filter(each => each === line).length
  }

  async receives(text: string): Promise<void> {
    await until(() => this.received.includes(text), { what: () => `${text} in ${this.received}` })
  }

  async closes(): Promise<void> {
    await until(() => this.isClosed, { what: 'the end of the connection' })
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.socket.destroy()
    await this.closes()
  }
}
