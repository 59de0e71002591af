import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { type AddressInfo, connect, createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'

const PROGRAM = '/usr/sbin/haproxy'

export function hasHaproxy(): boolean {
  return existsSync(PROGRAM)
}

export interface Haproxy {
  readonly pid: number
  readonly port: number
  close(): void
}

/** Starts HAProxy in TCP mode, with one thread, in front of a port of this machine. */
export async function startHaproxy(upstreamPort: number): Promise<Haproxy> {
  const folder = mkdtempSync(join(tmpdir(), 'topicgate-bench-'))
  const file = join(folder, 'haproxy.cfg')
  const port = await findFreePort()
  writeFileSync(
    file,
    `global
  nbthread 1
  maxconn 8000
defaults
  mode tcp
  timeout connect 5s
  timeout client 1h
  timeout server 1h
listen gateway
  bind 127.0.0.1:${port}
  server broker 127.0.0.1:${upstreamPort}
`,
  )
  const child = spawn(PROGRAM, ['-f', file, '-db'], { stdio: ['ignore', 'ignore', 'inherit'] })
  process.once('exit', () => child.kill())
  await waitForListener(port)
  return {
    pid: child.pid!,
    port,
    close: () => {
      child.kill()
      rmSync(folder, { recursive: true })
    },
  }
}

async function findFreePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  return port
}

async function waitForListener(port: number): Promise<void> {
  for (;;) {
    const socket = connect(port, '127.0.0.1')
    const isListening = await new Promise<boolean>(resolve =>
      socket.once('connect', () => resolve(true)).once('error', () => resolve(false)),
    )
    socket.destroy()
    if (isListening) return
    await setTimeout(20)
  }
}
