import { connect, isIP } from 'node:net'
import { connect as connectTls } from 'node:tls'
import type { DeviceConnection } from './fleet-broker.ts'

export interface SlowConnectionServer {
  readonly host: string
  readonly port: number
  readonly isTls: boolean
}

export interface SlowConnectionOptions {
  /** Bytes of the CONNECT. */
  readonly bytes: Buffer
  /** Time for which they are sent, one by one. */
  readonly slowMs: number
  /** Called if the connection fails or is closed by the server. */
  readonly onLost: () => void
}

/** Opens a connection that sends a CONNECT slowly, and nothing behind it. */
export function openSlowly(
  { host, port, isTls }: SlowConnectionServer,
  { bytes, slowMs, onLost }: SlowConnectionOptions,
): DeviceConnection {
  const socket = isTls
    ? connectTls({ host, port, servername: isIP(host) === 0 ? host : '' })
    : connect({ host, port })
  let sent = 0
  const timer = setInterval(() => {
    socket.write(bytes.subarray(sent, sent + 1))
    sent++
    if (sent === bytes.length) clearInterval(timer)
  }, slowMs / bytes.length).unref()
  let isClosing = false
  socket.on('error', () => {})
  socket.once('close', () => {
    clearInterval(timer)
    if (!isClosing) onLost()
  })
  socket.resume()
  const destroy = (): void => {
    isClosing = true
    socket.destroy()
  }
  return { publish: () => false, close: destroy, destroy }
}
