import type { Socket } from 'node:net'

/** Wait for the first byte of a client that starts TLS before it has seen an INFO, as in nats-server. */
const CLIENT_HELLO_MS = 50

const TLS_HANDSHAKE = 0x16

/** Calls `done` with true if a socket begins with a TLS handshake, and with false if it sends nothing for 50 ms. */
export function awaitClientHello(socket: Socket, done: (isTls: boolean) => void): void {
  const finish = (isTls: boolean): void => {
    clearTimeout(timer)
    socket.off('readable', read)
    socket.off('close', stop)
    socket.off('error', ignoreError)
    done(isTls)
  }
  const timer = setTimeout(() => finish(false), CLIENT_HELLO_MS)
  timer.unref()
  const stop = (): void => clearTimeout(timer)
  const ignoreError = (): void => {}
  const read = (): void => {
    const chunk: Buffer | null = socket.read()
    if (chunk === null) return
    socket.unshift(chunk)
    finish(chunk[0] === TLS_HANDSHAKE)
  }
  socket.on('readable', read)
  socket.on('close', stop)
  socket.on('error', ignoreError)
}
