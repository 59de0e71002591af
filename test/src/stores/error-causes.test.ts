import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Gate, type Logger, openStore, type StoreSpec } from '../../../src/index.ts'
import { openNatsKv } from '../../../src/stores/nats-kv/index.ts'
import { openRedis } from '../../../src/stores/redis/index.ts'
import type { Store } from '../../../src/stores/store.ts'
import { FaultProxy } from '../../support/fault-proxy.ts'
import { startNats } from '../../support/nats.ts'
import { freePort } from '../../support/ports.ts'
import { type RedisServer, startRedis } from '../../support/redis.ts'
import { makeCertificate } from '../../support/tls.ts'
import { until } from '../../support/wait.ts'

const folders: string[] = []
afterAll(async () => {
  for (const folder of folders) await rm(folder, { recursive: true })
})

/** Logger that records lines at warn and above. */
function keepWarnings(lines: string[]): Logger {
  const keep = (context: object, text = ''): void => {
    const { err, ...rest } = context as { readonly err?: unknown }
    lines.push(`${text} ${JSON.stringify(rest)} ${err === undefined ? '' : String(err)}`)
  }
  return { debug() {}, info() {}, warn: keep, error: keep }
}

const message = { topic: 'a', on: 'publish', sender: { client: 'c' }, size: 1 } as const

/** Causes a gate's store reports: in health, in its event and in the log. */
async function diagnose(spec: StoreSpec): Promise<{ health: string; event: string; log: string[] }> {
  const log: string[] = []
  const store = await openStore(
    { ...spec, fallback: 'deny', breaker: { threshold: 1 } },
    { logger: keepWarnings(log) },
  )
  return report(store, log)
}

async function report(
  store: Store,
  log: string[],
): Promise<{ health: string; event: string; log: string[] }> {
  let event = ''
  const gate = await Gate.fromPolicy({ rules: [{ name: 'r', limit: '5/h' }] }, { store })
  gate.on('store', ({ detail }) => {
    event = detail ?? event
  })
  await until(async () => {
    const { fallback } = await gate.check(message)
    return fallback === true && event !== ''
  })
  const { ok, detail = '' } = await store.health()
  expect(ok).toBe(false)
  await gate.close()
  await store.close()
  return { health: detail, event, log }
}

describe('the cause of an unreachable store', () => {
  let server: RedisServer
  beforeAll(async () => {
    server = await startRedis({ args: ['--requirepass', 'right'] })
  })
  afterAll(() => server.stop())

  const faults: readonly (readonly [name: string, open: () => Promise<StoreSpec>, cause: RegExp])[] = [
    ['a wrong password', async () => ({ url: `redis://:wrong@127.0.0.1:${server.port}` }), /WRONGPASS/],
    ['a missing password', async () => ({ url: server.url }), /NOAUTH/],
    ['nobody listening', async () => ({ url: `redis://127.0.0.1:${await freePort()}` }), /ECONNREFUSED/],
    ['NATS: nobody listening', async () => ({ url: `nats://127.0.0.1:${await freePort()}` }), /refused/i],
  ]
  it.each(faults)(
    'is reported for %s, in health, in the event and in the log',
    async (_name, spec, cause) => {
      const { health, event, log } = await diagnose(await spec())
      expect(health).toMatch(cause)
      expect(event).toMatch(cause)
      expect(log.filter(line => cause.test(line)).length).toBeGreaterThan(0)
      // Once when it is not ready, once when the breaker opens, once for shared entries; never per message.
      expect(log.length).toBeLessThanOrEqual(4)
    },
  )

  const answers: readonly (readonly [name: string, answer: string])[] = [
    ['LOADING', '-LOADING Redis is loading the dataset in memory\r\n'],
    ['OOM', "-OOM command not allowed when used memory > 'maxmemory'.\r\n"],
    ['unknown command', "-ERR unknown command 'EVALSHA', with args beginning with: \r\n"],
  ]
  it.each(answers)("is the server's answer: %s", async (name, answer) => {
    await using plain = await startRedis()
    await using proxy = await FaultProxy.start(plain.port)
    const log: string[] = []
    const url = `redis://127.0.0.1:${proxy.port}`
    const store = await openStore(
      { url, fallback: 'deny', breaker: { threshold: 1 } },
      { logger: keepWarnings(log) },
    )
    proxy.fault = { answer }
    const { health, event } = await report(store, log)
    expect(health).toContain(name)
    expect(event).toContain(name)
    expect(log.join('\n')).toContain(name)
  })

  it('is reported for a missing right', async () => {
    await using guarded = await startRedis({
      args: ['--user', 'u', 'on', '>pw', '~*', '+ping', '+info', '+client'],
    })
    const { health, event } = await diagnose({ url: `redis://u:pw@127.0.0.1:${guarded.port}` })
    expect(health).toContain('NOPERM')
    expect(event).toContain('NOPERM')
  })

  it('is reported for a renamed INFO', async () => {
    await using renamed = await startRedis({ args: ['--rename-command', 'INFO', 'HIDDEN'] })
    const { health } = await diagnose({ url: renamed.url })
    expect(health).toMatch(/unknown command 'info'/i)
  })

  it('is reported for an untrusted certificate', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'topicgate-tls-'))
    folders.push(folder)
    const { certFile, keyFile } = await makeCertificate(folder)
    const port = await freePort()
    await using _encrypted = await startRedis({
      args: [
        ...['--tls-port', String(port), '--tls-cert-file', certFile, '--tls-key-file', keyFile],
        ...['--tls-ca-cert-file', certFile, '--tls-auth-clients', 'no'],
      ],
    })
    const { health, event } = await diagnose({ url: `rediss://localhost:${port}` })
    expect(health).toMatch(/self-signed certificate/)
    expect(event).toMatch(/self-signed certificate/)
  })

  it('is reported for NATS that refuses the user', async () => {
    await using nats = await startNats({ jetstream: true, args: ['--user', 'u', '--pass', 'right'] })
    const { health, event, log } = await diagnose({ url: `nats://u:wrong@127.0.0.1:${nats.port}` })
    expect(health).toMatch(/authorization violation/i)
    expect(event).toMatch(/authorization violation/i)
    expect(log.join('\n')).toMatch(/authorization violation/i)
  })

  it('is logged again when it changes during an outage', async () => {
    const port = await freePort()
    const log: string[] = []
    const store = await openStore(
      { url: `redis://127.0.0.1:${port}`, breaker: { threshold: 1, healthEveryMs: 100 } },
      { logger: keepWarnings(log) },
    )
    const gate = await Gate.fromPolicy({ rules: [{ name: 'r', limit: '5/h' }] }, { store })
    await until(async () => (await gate.check(message)).fallback === true)
    expect(log.join('\n')).toContain('ECONNREFUSED')
    await using _guarded = await startRedis({ port, args: ['--requirepass', 'right'] })
    await until(() => log.some(line => line.includes('NOAUTH')))
    await gate.close()
    await store.close()
  })
})

describe('shared entries', () => {
  const rights = '+evalsha +eval +mget +set +del +time +scan +ping +info +client'.split(' ')
  const logOf = async (url: string): Promise<string[]> => {
    const log: string[] = []
    const logger = keepWarnings(log)
    const store = await openRedis(url, { logger, prefix: 'fleet' })
    const gate = new Gate({ store, logger })
    await gate.bans.add({ client: 'bad', reason: 'x', addedBy: 'me', for: '1m' })
    await gate.close()
    await store.close()
    return log
  }

  it('are shared after a healthy start, without a warning', async () => {
    await using server = await startRedis()
    expect(await logOf(server.url)).toEqual([])
  })

  it('are reported as not shared if the user lacks the right, with the missing right', async () => {
    await using server = await startRedis({ args: ['--user', 'u', 'on', '>pw', '~fleet:*', ...rights] })
    const log = await logOf(`redis://u:pw@127.0.0.1:${server.port}`)
    expect(log.filter(line => line.includes('not shared now'))).toEqual([expect.stringMatching(/hget|hset/i)])
  })
})

describe('an opened store', () => {
  it.each(['redis', 'nats'] as const)('is ready if its server is up: %s', async kind => {
    await using server = kind === 'redis' ? await startRedis() : await startNats({ jetstream: true })
    const open = kind === 'redis' ? openRedis : openNatsKv
    const store = await open(server.url, { timeoutMs: 20_000 })
    await store.ready()
    const gate = await Gate.fromPolicy({ rules: [{ name: 'r', limit: '20/h' }] }, { store })
    const decisions = await Promise.all(Array.from({ length: 100 }, () => gate.check(message)))
    expect(decisions.filter(({ fallback }) => fallback)).toHaveLength(0)
    expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(20)
    await gate.close()
    await store.close()
  })

  it.each(['redis', 'nats'] as const)('uses its fallback until its server is up: %s', async kind => {
    const port = await freePort()
    const open = kind === 'redis' ? openRedis : openNatsKv
    const store = await open(`${kind}://127.0.0.1:${port}`, { breaker: { healthEveryMs: 100 } })
    const gate = await Gate.fromPolicy({ rules: [{ name: 'r', limit: '20/h' }] }, { store })
    const decisions = await Promise.all(Array.from({ length: 100 }, () => gate.check(message)))
    expect(decisions.every(({ fallback }) => fallback)).toBe(true)
    expect(decisions.filter(({ allowed }) => allowed)).toHaveLength(20)
    await expect(store.ready(50)).rejects.toThrow(/not ready.*refused/i)
    const start = kind === 'redis' ? startRedis : startNats
    await using _server = await start({ port, jetstream: true })
    await store.ready()
    await until(async () => (await gate.check(message)).fallback === undefined)
    await gate.close()
    await store.close()
  })
})
