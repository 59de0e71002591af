import { connect } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { type HealthServer, startHealth } from '../../../../src/cli/monitoring/health-server.ts'
import type { StoreHealth } from '../../../../src/index.ts'
import { MemoryStore } from '../../../../src/stores/memory/memory-store.ts'

let server: HealthServer | undefined
afterEach(() => server?.close())

async function ask(
  path: string,
  health: () => StoreHealth,
  serving = true,
  method = 'GET',
): Promise<Response> {
  const store = Object.assign(new MemoryStore(), { health })
  const look = (): { serving: boolean; rules: number } => ({ serving, rules: 3 })
  await server?.close()
  const metrics = async (): Promise<string> => 'up 1\n'
  server = await startHealth({ store, readState: look, metrics, host: '127.0.0.1', port: 0 })
  return fetch(`http://127.0.0.1:${server.port}${path}`, { method })
}

const well = (): StoreHealth => ({ ok: true })

describe('the health of a broker', () => {
  it('is live while it answers, also before it serves', async () => {
    const response = await ask('/live', well, false)
    expect([response.status, await response.json()]).toEqual([200, { live: true }])
  })

  it('is ready while it serves', async () => {
    const response = await ask('/ready?verbose', well)
    expect([response.status, await response.json()]).toEqual([
      200,
      { ready: true, rules: 3, store: { name: 'memory', ok: true } },
    ])
    expect((await ask('/ready', well, false)).status).toBe(503)
  })

  it('stays ready without its store where the fallback serves on, and is not where it denies all', async () => {
    for (const [fallback, state, status] of [
      ['memory', 'open', 200],
      ['deny', 'open', 503],
      // Else nothing would come that could show the store to be well again.
      ['deny', 'half-open', 200],
    ] as const) {
      const response = await ask('/ready', () => ({ ok: false, state, fallback, detail: 'gone' }))
      expect([response.status, await response.json()]).toEqual([
        status,
        {
          ready: status === 200,
          rules: 3,
          store: { name: 'memory', ok: false, state, fallback, detail: 'gone' },
        },
      ])
    }
  })

  it('tells of a store that cannot even say how it is', async () => {
    const response = await ask('/ready', () => {
      throw new Error('broken')
    })
    expect(await response.json()).toMatchObject({ ready: true, store: { ok: false, detail: 'broken' } })
  })

  it('gives Prometheus its metrics', async () => {
    const response = await ask('/metrics', well)
    expect([response.status, await response.text()]).toEqual([200, 'up 1\n'])
    expect(response.headers.get('content-type')).toBe('text/plain; version=0.0.4; charset=utf-8')
  })

  it('is told to who asks, however many sockets say nothing', async () => {
    await ask('/live', well)
    const { port } = server!
    const idle = Array.from({ length: 200 }, () => {
      const socket = connect(port, '127.0.0.1')
      socket.on('error', () => {})
      return socket
    })
    await Promise.all(
      idle.map(
        socket =>
          new Promise<void>(resolve => {
            if (socket.connecting) socket.once('connect', () => resolve()).once('close', () => resolve())
            else resolve()
          }),
      ),
    )
    const response = await fetch(`http://127.0.0.1:${port}/live`, { signal: AbortSignal.timeout(3_000) })
    expect(response.status).toBe(200)
    for (const socket of idle) socket.destroy()
  })

  it('answers nothing else', async () => {
    expect((await ask('/', well)).status).toBe(404)
    expect((await ask('/ready', well, true, 'POST')).status).toBe(405)
    const head = await ask('/ready', well, true, 'HEAD')
    expect([head.status, await head.text()]).toEqual([200, ''])
  })

  it('says with which flag another port is chosen', async () => {
    await ask('/live', well)
    const readState = (): { serving: boolean; rules: number } => ({ serving: true, rules: 0 })
    const again = { store: new MemoryStore(), readState, metrics: async () => '', host: '127.0.0.1' }
    await expect(startHealth({ ...again, port: server!.port })).rejects.toMatchObject({
      exitCode: 69,
      message: expect.stringContaining('choose another with --health'),
    })
  })
})
