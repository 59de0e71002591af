import type { Socket } from 'node:net'
import { readProxyHeader } from './proxy-header.ts'

/** Maximum time for a proxy to send its header. */
export const PROXY_HEADER_MS = 5_000

/**
 * Reads the PROXY header of a socket and calls `done` with the address in it; undefined if there is none. The bytes
 * behind it stay readable. Destroys the socket if the header is malformed or late.
 */
export function awaitProxyHeader(
  socket: Socket,
  timeoutMs: number,
  done: (ip: string | undefined) => void,
): void {
  let seen: Buffer = Buffer.alloc(0)
  const timer = setTimeout(() => socket.destroy(), timeoutMs)
  timer.unref()
  const ignoreError = (): void => {}
  const stop = (): void => {
    clearTimeout(timer)
    socket.off('readable', read)
    socket.off('close', stop)
    socket.off('error', ignoreError)
  }
  const read = (): void => {
    const chunk: Buffer | null = socket.read()
    if (chunk === null) return
    seen = seen.length === 0 ? chunk : Buffer.concat([seen, chunk])
    const header = readProxyHeader(seen)
    if (header.kind === 'partial') return
    stop()
    if (header.kind === 'broken') {
      socket.destroy()
      return
    }
    const rest = header.kind === 'found' ? seen.subarray(header.sizeBytes) : seen
    if (rest.length > 0) socket.unshift(rest)
    done(header.kind === 'found' ? header.ip : undefined)
  }
  socket.on('readable', read)
  socket.on('close', stop)
  socket.on('error', ignoreError)
}
