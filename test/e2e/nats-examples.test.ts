import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { GENERATIONS } from '../brokers/nats/client-versions.ts'
import { ensureBuilt } from '../support/built.ts'
import { startNats } from '../support/nats.ts'
import { type Program, startNode } from '../support/program.ts'
import { until } from '../support/wait.ts'

beforeAll(ensureBuilt)

const { connect, jetstream } = GENERATIONS[1]!

/** Asks it to end, as a service would; answers what it printed. */
async function end(program: Program): Promise<string> {
  program.signal('SIGTERM')
  const { code, signal, stdout, stderr } = await program.ended
  expect({ code, signal, stderr }).toEqual({ code: 0, signal: null, stderr: '' })
  return stdout
}

describe('examples for NATS', () => {
  it('nats-consumer holds a noisy tenant, lets the others pass and answers who asks too often', async () => {
    await using server = await startNats()
    await using program = startNode([join('examples', 'nats-consumer.js')], { env: { NATS_URL: server.url } })
    await program.line(/^ready$/)
    const nc = await connect(server.url)
    for (let count = 0; count < 500; count++) nc.publish('orders.noisy.new', Buffer.from('x'))
    for (let count = 0; count < 20; count++) nc.publish('orders.quiet.new', Buffer.from('x'))
    await nc.flush()
    const codes: string[] = []
    for (let count = 0; count < 7; count++) {
      const answer = await nc.request('prices.gold', '', { timeout: 5_000 })
      codes.push(answer.headers?.get('Nats-Service-Error-Code') ?? '')
    }
    expect(codes).toEqual(['', '', '', '', '', '429', '429'])
    const [, counts = '{}', held] = /ending: (\{.*\}), (\d+) were held/.exec(await end(program)) ?? []
    const { noisy, quiet } = JSON.parse(counts) as Record<string, number>
    expect(quiet).toBe(20)
    expect(noisy).toBeGreaterThanOrEqual(20)
    expect(noisy! + Number(held)).toBe(500)
    await nc.close()
  })

  it('nats-worker does every job, each sent back once at the most but for those that fail', async () => {
    await using server = await startNats({ jetstream: true })
    await using program = startNode([join('examples', 'nats-worker.js')], { env: { NATS_URL: server.url } })
    await program.line(/^ready$/)
    const nc = await connect(server.url)
    const js = await jetstream(nc)
    await Promise.all(Array.from({ length: 60 }, () => js.publish('jobs.noisy', 'good')))
    await Promise.all(Array.from({ length: 5 }, () => js.publish('jobs.quiet', 'good')))
    await until(async () => {
      const { num_pending, num_ack_pending } = await js.state('jobs', 'worker')
      return num_pending + num_ack_pending === 0
    })
    const { delivered } = await js.state('jobs', 'worker')
    expect(delivered.consumer_seq).toBeLessThanOrEqual(2.1 * 65)
    const [, done, failed, sentBack] =
      /ending: (\d+) done, (\d+) failed, (\d+) sent back/.exec(await end(program)) ?? []
    expect([done, failed].map(Number)).toEqual([65, 0])
    expect(Number(sentBack)).toBe(delivered.consumer_seq - 65)
    await nc.close()
  })
})
