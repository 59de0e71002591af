import { createHmac } from 'node:crypto'
import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import type { Alert } from '../../../src/metrics/alert-monitor.ts'
import { type Post, Webhook, type WebhookOptions } from '../../../src/metrics/webhook.ts'
import { FakeClock } from '../../support/fake-clock.ts'
import { until } from '../../support/wait.ts'

const SECRET = 'between us'

function alert(id: string, state: Alert['state'] = 'firing'): Alert {
  const rest = { name: 'block_rate', severity: 'warning', text: 'ü', value: 0.4, threshold: 0.3 } as const
  return { ...rest, id, state, sinceMs: 1, atMs: 2 }
}

interface Request {
  readonly body: string
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

let server: Server | undefined
afterEach(() => {
  server?.closeAllConnections()
  server?.close()
})

/** Starts a server that answers with each status in turn, then always with the last; 0 means no answer. */
async function listen(...statuses: number[]): Promise<{ url: string; requests: Request[] }> {
  const requests: Request[] = []
  server = createServer((request, response) => {
    let body = ''
    request.setEncoding('utf8').on('data', chunk => {
      body += chunk
    })
    request.on('end', () => {
      requests.push({ body, headers: request.headers })
      const status = statuses.length > 1 ? statuses.shift()! : statuses[0]!
      if (status !== 0) response.writeHead(status).end('thanks')
    })
  })
  await new Promise<void>(resolve => server!.listen(0, '127.0.0.1', resolve))
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`, requests }
}

function hook(url: string, options: Partial<WebhookOptions> = {}): { clock: FakeClock; webhook: Webhook } {
  const clock = new FakeClock(1_700_000_000_500)
  return { clock, webhook: new Webhook({ url, secret: SECRET, clock, chance: () => 0.5, ...options }) }
}

describe('a webhook', () => {
  it('posts each alert once, in order, signed', async () => {
    const { url, requests } = await listen(204)
    const { webhook } = hook(url)
    for (const one of [alert('a'), alert('a'), alert('b'), alert('a', 'resolved')]) webhook.send(one)
    await until(() => webhook.stats().delivered === 3)
    webhook.send(alert('b'))
    expect(requests.map(({ headers }) => headers['topicgate-delivery'])).toEqual([
      'a-firing',
      'b-firing',
      'a-resolved',
    ])
    const [{ body, headers }] = requests as [Request]
    expect(JSON.parse(body)).toEqual(alert('a'))
    const signature = createHmac('sha256', SECRET).update(`1700000000.${body}`).digest('hex')
    expect(headers['topicgate-signature']).toBe(`t=1700000000,v1=${signature}`)
    expect(webhook.stats()).toEqual({ waiting: 0, delivered: 3, lost: 0, failedAttempts: 0 })
  })

  it('retries after random waits that double, as the same delivery', async () => {
    const { url, requests } = await listen(500, 429, 503, 200)
    const { clock, webhook } = hook(url)
    webhook.send(alert('a'))
    for (const [index, waitMs] of [750, 1_500, 3_000].entries()) {
      await until(() => requests.length === index + 1 && clock.pending === 1)
      await clock.advanceAsync(waitMs - 1)
      expect(requests).toHaveLength(index + 1)
      await clock.advanceAsync(1)
    }
    await until(() => webhook.stats().delivered === 1)
    expect(new Set(requests.map(({ headers }) => headers['topicgate-delivery'])).size).toBe(1)
  })

  it('gives up after the maximum of attempts, or at once for a final answer; the next alert follows', async () => {
    const { url, requests } = await listen(503, 503, 503, 404, 200)
    const { clock, webhook } = hook(url, { tries: 3 })
    webhook.send(alert('a'))
    webhook.send(alert('b'))
    webhook.send(alert('c'))
    await until(async () => {
      await clock.advanceAsync(500)
      return webhook.stats().delivered === 1
    })
    expect(webhook.stats()).toEqual({ waiting: 0, delivered: 1, lost: 2, failedAttempts: 4 })
    expect(requests).toHaveLength(5)
  })

  it('waits for an answer at most for its timeout', async () => {
    const { url, requests } = await listen(0, 200)
    const { clock, webhook } = hook(url)
    webhook.send(alert('a'))
    await until(() => requests.length === 1)
    await clock.advanceAsync(4_999)
    expect(clock.pending).toBe(1)
    await clock.advanceAsync(1)
    await until(async () => {
      await clock.advanceAsync(500)
      return webhook.stats().delivered === 1
    })
    expect(requests).toHaveLength(2)
  })

  it('queues a bounded number of alerts, the newest, and never waits longer than maxWaitMs', async () => {
    const waits: number[] = []
    const clock = new FakeClock()
    const after = clock.after.bind(clock)
    clock.after = (ms, run) => {
      waits.push(ms)
      return after(ms, run)
    }
    const post: Post = () => Promise.reject(new Error('refused'))
    const webhook = new Webhook({
      url: 'https://example.org',
      secret: SECRET,
      clock,
      post,
      chance: () => 0.999,
    })
    for (let index = 0; index < MAX_SIZES.webhookQueue + 50; index++) webhook.send(alert(`a${index}`))
    expect(webhook.stats()).toMatchObject({ waiting: MAX_SIZES.webhookQueue, delivered: 0, lost: 50 })
    await clock.advanceAsync(200_000)
    expect(Math.max(...waits)).toBeLessThanOrEqual(60_000)
    expect(waits.filter(ms => ms !== 5_000).slice(0, 7)).toEqual([
      1_000, 1_999, 3_998, 7_996, 15_992, 31_984, 59_970,
    ])
    webhook.close()
    expect(clock.pending).toBe(0)
    expect(webhook.stats().waiting).toBe(0)
    webhook.send(alert('late'))
    expect(webhook.stats().waiting).toBe(0)
  })

  it('logs neither secret nor URL', async () => {
    const lines: string[] = []
    const log = (...args: unknown[]): void => void lines.push(JSON.stringify(args))
    const logger = { debug: log, info: log, warn: log, error: log }
    const { webhook } = hook('http://user:pass@127.0.0.1:1/x', { logger, tries: 1 })
    webhook.send(alert('a'))
    await until(() => lines.length === 1)
    expect(lines[0]).toContain('an alert was not delivered')
    expect(lines[0]).not.toMatch(/pass|between us|127/)
  })

  it('rejects a URL that is not http, and an empty secret', () => {
    for (const url of ['ftp://x', 'nowhere', ''])
      expect(() => hook(url)).toThrow('this is not an http or https URL')
    expect(() => hook('https://example.org', { secret: '' })).toThrow('anyone could send alerts')
  })
})
