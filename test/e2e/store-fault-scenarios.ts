import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Redis } from 'ioredis'
import Database from 'libsql'
import { FaultProxy } from '../support/fault-proxy.ts'
import { type NatsServer, startNats } from '../support/nats.ts'
import { freePort } from '../support/ports.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'

/** A store with its server, and one fault that can be caused and ended. */
export interface Scene {
  readonly url: string
  cause(): Promise<void>
  end(): Promise<void>
  stop(): Promise<void>
}

export interface Scenario {
  readonly store: 'Redis' | 'NATS KV' | 'SQLite'
  readonly fault: string
  /** What the store names as the cause; undefined if it decides on, with counts that begin afresh. */
  readonly names?: RegExp
  /** The same as printed in the table. */
  readonly cause?: string
  /** Whether it belongs to every run of the tests. */
  readonly core?: boolean
  open(): Promise<Scene>
}

interface Server {
  readonly port: number
  readonly pid: number
  stop(signal?: NodeJS.Signals): Promise<void>
}
type Start = (port: number, args?: readonly string[]) => Promise<Server>

const redis: Start = (port, args = []): Promise<RedisServer> => startRedis({ port, args })
const nats: Start = (port, args = []): Promise<NatsServer> => startNats({ port, args, jetstream: true })

/** A server that is ended and started again on the same port, without what it held. */
function restarting(scheme: string, start: Start, betweenArgs?: readonly string[]): () => Promise<Scene> {
  return async () => {
    const port = await freePort()
    let server = await start(port)
    return {
      url: `${scheme}://127.0.0.1:${port}`,
      async cause() {
        await server.stop('SIGKILL')
        if (betweenArgs !== undefined) server = await start(port, betweenArgs)
      },
      async end() {
        if (betweenArgs !== undefined) await server.stop('SIGKILL')
        server = await start(port)
      },
      stop: () => server.stop('SIGKILL'),
    }
  }
}

/** A server that is gone and back at once. */
function restarted(scheme: string, start: Start): () => Promise<Scene> {
  return async () => {
    const scene = await restarting(scheme, start)()
    const cause = async (): Promise<void> => {
      await scene.cause()
      await scene.end()
    }
    return { ...scene, cause, end: async () => {} }
  }
}

function frozen(scheme: string, start: Start): () => Promise<Scene> {
  return async () => {
    const server = await start(await freePort())
    return {
      url: `${scheme}://127.0.0.1:${server.port}`,
      cause: async () => void process.kill(server.pid, 'SIGSTOP'),
      end: async () => void process.kill(server.pid, 'SIGCONT'),
      stop: () => server.stop('SIGKILL'),
    }
  }
}

function behindProxy(scheme: string, start: Start, cause: (proxy: FaultProxy) => void): () => Promise<Scene> {
  return async () => {
    const server = await start(await freePort())
    const proxy = await FaultProxy.start(server.port)
    return {
      url: `${scheme}://127.0.0.1:${proxy.port}`,
      cause: async () => cause(proxy),
      async end() {
        proxy.fault = 'none'
      },
      async stop() {
        await proxy.stop()
        await server.stop('SIGKILL')
      },
    }
  }
}

/** A Redis that an administrator turns bad, and good again. */
function administered(cause: (admin: Redis) => Promise<unknown>, end: (admin: Redis) => Promise<unknown>) {
  return async (): Promise<Scene> => {
    const server = await startRedis()
    const admin = new Redis(server.port)
    return {
      url: server.url,
      cause: async () => void (await cause(admin)),
      end: async () => void (await end(admin)),
      async stop() {
        admin.disconnect()
        await server.stop('SIGKILL')
      },
    }
  }
}

interface File {
  readonly folder: string
  readonly path: string
}

function inFile(cause: (file: File) => void, end: (file: File) => void): () => Promise<Scene> {
  return async () => {
    const folder = mkdtempSync(join(tmpdir(), 'topicgate-faults-'))
    const file = { folder, path: join(folder, 'limits.db') }
    return {
      url: `sqlite:${file.path}`,
      cause: async () => cause(file),
      end: async () => end(file),
      stop: async () => rmSync(folder, { recursive: true, force: true }),
    }
  }
}

function locked(): Promise<Scene> {
  let lock: InstanceType<typeof Database> | undefined
  return inFile(
    ({ path }) => {
      lock = new Database(path)
      lock.exec('BEGIN IMMEDIATE')
    },
    () => {
      lock?.exec('COMMIT')
      lock?.close()
    },
  )()
}

const slow = (proxy: FaultProxy): void => {
  proxy.fault = { latencyMs: 800 }
}
const silent = (proxy: FaultProxy): void => {
  proxy.fault = 'black-hole'
}
const swallowed = (proxy: FaultProxy): void => {
  proxy.fault = 'reset'
  proxy.fault = 'swallow'
}

const LATE = { names: /no answer|not connected|time left/, cause: 'no answer within the time limit' }
const SILENT = { names: /no answer|silent|timeout|timed out|lost|closed/i, cause: 'silent, or no answer' }

export const SCENARIOS: readonly Scenario[] = [
  {
    ...{ store: 'Redis', fault: 'killed', core: true, names: /ECONNREFUSED|closed/, cause: 'ECONNREFUSED' },
    open: restarting('redis', redis),
  },
  { store: 'Redis', fault: 'frozen', core: true, ...LATE, open: frozen('redis', redis) },
  { store: 'Redis', fault: 'slow', ...LATE, open: behindProxy('redis', redis, slow) },
  { store: 'Redis', fault: 'restarted empty', open: restarted('redis', redis) },
  {
    ...{ store: 'Redis', fault: 'READONLY', names: /READONLY/, cause: 'READONLY' },
    open: administered(
      admin => admin.replicaof('127.0.0.1', 1),
      admin => admin.replicaof('NO', 'ONE'),
    ),
  },
  {
    ...{ store: 'Redis', fault: 'OOM', names: /OOM/, cause: 'OOM' },
    open: administered(
      admin => admin.config('SET', 'maxmemory', '1'),
      admin => admin.config('SET', 'maxmemory', '0'),
    ),
  },
  {
    ...{ store: 'Redis', fault: 'wrong password', names: /NOAUTH/, cause: 'NOAUTH' },
    open: administered(
      async admin => {
        await admin.config('SET', 'requirepass', 'other')
        await admin.call('CLIENT', 'KILL', 'TYPE', 'normal')
      },
      admin => admin.config('SET', 'requirepass', ''),
    ),
  },
  { store: 'Redis', fault: 'partition', ...SILENT, open: behindProxy('redis', redis, silent) },
  { store: 'Redis', fault: 'handshake swallowed', ...SILENT, open: behindProxy('redis', redis, swallowed) },
  {
    ...{ store: 'NATS KV', fault: 'killed', core: true },
    ...{ names: /not connected/, cause: 'not connected' },
    open: restarting('nats', nats),
  },
  { store: 'NATS KV', fault: 'frozen', ...LATE, open: frozen('nats', nats) },
  { store: 'NATS KV', fault: 'slow', ...LATE, open: behindProxy('nats', nats, slow) },
  { store: 'NATS KV', fault: 'restarted empty', open: restarted('nats', nats) },
  {
    ...{ store: 'NATS KV', fault: 'wrong password' },
    ...{ names: /authorization violation/i, cause: 'Authorization Violation' },
    open: restarting('nats', nats, ['--user', 'u', '--pass', 'other']),
  },
  { store: 'NATS KV', fault: 'partition', ...SILENT, open: behindProxy('nats', nats, silent) },
  { store: 'NATS KV', fault: 'handshake swallowed', ...SILENT, open: behindProxy('nats', nats, swallowed) },
  {
    ...{ store: 'SQLite', fault: 'frozen (file locked)', core: true },
    ...{ names: /no answer|SQLITE_BUSY/, cause: 'SQLITE_BUSY, or no answer' },
    open: locked,
  },
  {
    ...{
      store: 'SQLite',
      fault: 'killed (folder removed)',
      names: /was removed/,
      cause: 'the file was removed',
    },
    open: inFile(
      ({ folder }) => rmSync(folder, { recursive: true }),
      ({ folder }) => mkdirSync(folder),
    ),
  },
  {
    ...{ store: 'SQLite', fault: 'restarted empty (file removed)' },
    open: inFile(
      ({ path }) => {
        for (const end of ['', '-wal', '-shm']) rmSync(path + end, { force: true })
      },
      () => {},
    ),
  },
]
