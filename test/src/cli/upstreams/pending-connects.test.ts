import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { ConnectQueueTimeoutError, PendingConnects } from '../../../../src/cli/upstreams/pending-connects.ts'
import { parseUpstream } from '../../../../src/cli/upstreams/upstream.ts'
import { UpstreamPool } from '../../../../src/cli/upstreams/upstream-pool.ts'
import { SILENT } from '../../../../src/core/logger.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { until } from '../../../support/wait.ts'

/** Sockets that the broker has accepted and not answered. */
const accepted: Socket[] = []
const server = createServer(socket => void accepted.push(socket.on('error', () => {})))
const never = (): boolean => false
const client = { ip: '192.0.2.1', isGone: never }
const LONG_MS = 60_000

beforeEach(() => new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve)))
afterEach(async () => {
  for (const socket of accepted.splice(0)) socket.destroy()
  await new Promise(resolve => server.close(resolve))
})

function portOf(): number {
  return (server.address() as AddressInfo).port
}

function open(): Promise<Socket> {
  const socket = connect(portOf(), '127.0.0.1')
  return new Promise(resolve => socket.once('connect', () => resolve(socket)))
}

function expectOpen(count: number): Promise<unknown> {
  return until(() => accepted.length === count, {
    what: () => `${count} connections, not ${accepted.length}`,
  })
}

it('opens the next connection when the broker has answered or closed one', async () => {
  const pending = new PendingConnects({ max: 2, maxAnswerMs: LONG_MS, maxQueueMs: LONG_MS })
  const sockets = Array.from({ length: 5 }, () => pending.connect(client, open))
  await Promise.all([expectOpen(2), sockets[0], sockets[1]])
  expect(pending).toMatchObject({ count: 2, waiting: 3, timeouts: 0 })
  accepted[0]!.write('an answer')
  await Promise.all([expectOpen(3), sockets[2]])
  accepted[1]!.destroy()
  await Promise.all([expectOpen(4), sockets[3]])
  expect(pending).toMatchObject({ count: 2, waiting: 1 })
  accepted[2]!.write('an answer')
  await expectOpen(5)
  for (const socket of accepted) socket.write('an answer')
  await until(() => pending.count === 0)
})

it('leaves all bytes of the broker to the caller', async () => {
  const pending = new PendingConnects({ max: 1, maxAnswerMs: LONG_MS, maxQueueMs: LONG_MS })
  const socket = await pending.connect(client, open)
  const chunks: Buffer[] = []
  socket.on('data', chunk => void chunks.push(chunk))
  await expectOpen(1)
  accepted[0]!.end('all of it')
  await new Promise(resolve => socket.once('end', resolve))
  expect(Buffer.concat(chunks).toString()).toBe('all of it')
})

it('goes on when a broker does not answer, or cannot be reached', async () => {
  const pending = new PendingConnects({ max: 1, maxAnswerMs: 20, maxQueueMs: LONG_MS })
  const failed = pending.connect(client, () => Promise.reject(new Error('refused')))
  const others = [pending.connect(client, open), pending.connect(client, open)]
  await expect(failed).rejects.toThrow('refused')
  await Promise.all([...others, expectOpen(2)])
})

it('refuses a client whose turn does not come in time, and forgets one that has gone', async () => {
  const pending = new PendingConnects({ max: 1, maxAnswerMs: LONG_MS, maxQueueMs: 20 })
  let isGone = false
  await pending.connect(client, open)
  const late = pending.connect(client, open)
  const gone = pending.connect({ ...client, isGone: () => isGone }, open)
  isGone = true
  await expect(late).rejects.toThrow(ConnectQueueTimeoutError)
  await expect(gone).rejects.toThrow('closed its connection')
  expect(pending).toMatchObject({ count: 1, timeouts: 1 })
  accepted[0]!.destroy()
  await until(() => pending.count === 0 && pending.waiting === 0)
  await expectOpen(1)
})

it('refuses clients above the maximum of waiting ones', async () => {
  const pending = new PendingConnects({ max: 1, maxAnswerMs: LONG_MS, maxQueueMs: LONG_MS })
  let opened = 0
  const connectMany = (count: number): Promise<Socket>[] =>
    Array.from({ length: count }, () =>
      pending.connect(client, () => {
        opened++
        return new Promise<never>(() => {})
      }),
    )
  void connectMany(1 + MAX_SIZES.waitingUpstreamConnects)
  await expect(connectMany(1)[0]).rejects.toThrow(ConnectQueueTimeoutError)
  expect(pending).toMatchObject({ count: 1, waiting: MAX_SIZES.waitingUpstreamConnects, timeouts: 1 })
  expect(opened).toBe(1)
})

it('a pool limits and counts the connections to each broker, and keeps it healthy', async () => {
  const url = `mqtt://127.0.0.1:${portOf()}`
  const pool = new UpstreamPool({
    addresses: [parseUpstream(url)],
    tls: undefined,
    sendsProxyHeader: false,
    logger: SILENT,
    maxPendingConnects: 3,
  })
  const sockets = Array.from({ length: 10 }, (_, index) =>
    pool.connect({ ...client, clientId: `c${index}`, port: index }),
  )
  try {
    await expectOpen(3)
    const values = pool.collectMetrics().map(({ name, samples }) => [name, samples[0]?.value])
    expect(Object.fromEntries(values)).toEqual({
      topicgate_gateway_upstream_healthy: 1,
      topicgate_gateway_upstream_pending_connects: 3,
      topicgate_gateway_upstream_waiting_connects: 7,
      topicgate_gateway_upstream_wait_timeouts_total: 0,
    })
    for (let count = 0; count < 10; count++) {
      await expectOpen(Math.min(10, count + 3))
      accepted[count]!.write('an answer')
    }
    await Promise.all(sockets)
  } finally {
    pool.close()
  }
})
