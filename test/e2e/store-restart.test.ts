import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Decision, Gate } from '../../src/index.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { startRedis } from '../support/redis.ts'

let folder: string
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'topicgate-quota-'))
})
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const HOUR_MS = 3_600_000

describe('a daily quota in Redis', () => {
  it.each([
    ['a day of 23 hours', '2026-03-29T00:00:00+01:00', 23],
    ['a day of 25 hours', '2026-10-25T00:00:00+02:00', 25],
  ])(
    'survives restarts of the gate and of the server, and turns at local midnight, on %s',
    async (title, midnight, hours) => {
      const startMs = Date.parse(midnight)
      const clock = new FakeClock(startMs - 1)
      const args = ['--dir', folder, '--appendonly', 'yes', '--appendfsync', 'always']
      let redis = await startRedis({ args })
      const { port } = redis
      const policy = {
        store: { url: redis.url, prefix: title.replaceAll(' ', '-'), fallback: 'deny', timeout: '2s' },
        rules: [{ name: 'daily', per: 'client', quota: '3/day', zone: 'Europe/Berlin' }],
      }
      let gate = await Gate.fromPolicy(policy, { clock })
      const ask = async (): Promise<Decision> =>
        gate.check({ topic: 'a', on: 'publish', sender: { client: 'c' }, size: 1 })
      expect(await ask()).toMatchObject({ allowed: true, remaining: 2, resetMs: 1 })
      clock.set(startMs)
      expect(await ask()).toMatchObject({ allowed: true, remaining: 2, resetMs: hours * HOUR_MS })
      await gate.close()

      gate = await Gate.fromPolicy(policy, { clock })
      expect(await ask()).toMatchObject({ allowed: true, remaining: 1 })
      await gate.close()

      await redis.stop()
      redis = await startRedis({ args, port })
      gate = await Gate.fromPolicy(policy, { clock })
      clock.set(startMs + hours * HOUR_MS - 1)
      expect(await ask()).toMatchObject({ allowed: true, remaining: 0, resetMs: 1 })
      expect(await ask()).toMatchObject({ allowed: false, reason: 'quota_exceeded', retryAfterMs: 1 })
      clock.set(startMs + hours * HOUR_MS)
      expect(await ask()).toMatchObject({ allowed: true, remaining: 2 })
      await gate.close()
      await redis.stop()
    },
  )
})
