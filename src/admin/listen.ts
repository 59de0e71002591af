import { chmodSync, lstatSync, unlinkSync } from 'node:fs'
import type { Server } from 'node:http'
import { type AddressInfo, connect } from 'node:net'
import { policyError } from '../core/errors.ts'

/** Address of the admin server: a unix socket, or a host and port. */
export type AdminAddress =
  | { readonly kind: 'unix'; readonly path: string }
  | { readonly kind: 'tcp'; readonly host: string; readonly port: number }

/** Parses `unix:PATH` or `HOST:PORT`, where the port 0 is a free one. Throws PolicyError. */
export function parseAdminAddress(text: string): AdminAddress {
  const path = /^unix:(.+)$/s.exec(text)?.[1]
  if (path !== undefined) return { kind: 'unix', path }
  const [, bracketed, name, digits] = /^(?:\[([\da-f:.]+)\]|([\w.-]+)):(\d{1,5})$/i.exec(text) ?? []
  const port = Number(digits)
  const host = bracketed ?? name
  if (host !== undefined && port <= 65_535) return { kind: 'tcp', host, port }
  const remedy = 'write unix:/run/topicgate.sock, or 127.0.0.1:8080'
  throw policyError('listen', `${JSON.stringify(text.slice(0, 100))} is not an address`, remedy)
}

/** Returns the address as text, with the port in use. */
export function formatAdminAddress(address: AdminAddress, server: Server): string {
  if (address.kind === 'unix') return `unix:${address.path}`
  const { port } = server.address() as AddressInfo
  return `http://${address.host.includes(':') ? `[${address.host}]` : address.host}:${port}`
}

/**
 * Listens at an address. Only the owner may open a unix socket (mode 0600); one left by an ended process is replaced.
 * Rejects with the error of the system.
 */
export async function listenAt(server: Server, address: AdminAddress): Promise<void> {
  if (address.kind === 'tcp') return listen(server, () => server.listen(address.port, address.host))
  if (await isStale(address.path)) unlinkSync(address.path)
  await listen(server, () => {
    const mask = setUmask(0o177)
    try {
      server.listen(address.path)
    } finally {
      if (mask !== undefined) process.umask(mask)
    }
  })
  chmodSync(address.path, 0o600)
}

/** Sets the mask of new files, so that no other user can open the socket before its mode is set. */
function setUmask(mask: number): number | undefined {
  try {
    return process.umask(mask)
  } catch {
    // Worker threads cannot set it.
    return undefined
  }
}

function listen(server: Server, start: () => void): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject)
    server.once('listening', () => {
      server.off('error', reject)
      resolve()
    })
    start()
  })
}

/** Returns true for a socket at which no process listens. */
function isStale(path: string): Promise<boolean> {
  try {
    if (!lstatSync(path).isSocket()) return Promise.resolve(false)
  } catch {
    return Promise.resolve(false)
  }
  return new Promise(resolve => {
    const socket = connect(path)
    socket.once('connect', () => {
      socket.destroy()
      resolve(false)
    })
    socket.once('error', (error: NodeJS.ErrnoException) => resolve(error.code === 'ECONNREFUSED'))
  })
}
