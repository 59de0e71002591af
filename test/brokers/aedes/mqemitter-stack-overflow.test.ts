import { fork } from 'node:child_process'
import { once } from 'node:events'
import { describe, expect, it } from 'vitest'
import { preventStackOverflow } from '../../../brokers/aedes/mqemitter-stack-overflow.ts'
import { eventually, startBroker } from './harness.ts'

const MESSAGES = 20_000

interface Queued {
  readonly mq: { readonly current: number; readonly length: number }
}

describe('a broker whose subscriber leaves with thousands of messages in progress', () => {
  it('overflows its stack without the patch', async () => {
    const child = fork(new URL('./leaving-subscriber.js', import.meta.url), [String(MESSAGES)], {
      stdio: 'pipe',
    })
    let errors = ''
    child.stderr?.on('data', chunk => {
      errors += String(chunk)
    })
    const [code] = (await once(child, 'exit')) as [number]
    expect(errors).toContain('Maximum call stack size exceeded')
    expect(code).not.toBe(0)
  })

  it('survives with the patch, and other subscribers get all messages in order', async () => {
    const test = await startBroker()
    preventStackOverflow(test.broker)
    const { mq } = test.broker as unknown as Queued
    try {
      const frozen = await test.connect()
      await frozen.subscribeAsync('a')
      const other = await test.connect()
      const seen: number[] = []
      other.on('message', (_topic, payload) => seen.push(Number(payload.toString())))
      await other.subscribeAsync('b')
      frozen.stream.pause()
      const filler = 'x'.repeat(2_000)
      let done = 0
      for (let index = 0; index < MESSAGES; index++) {
        const ours = index % 100 === 99
        const packet = { topic: ours ? 'b' : 'a', payload: ours ? String(index) : filler, qos: 0 as const }
        test.broker.publish({ cmd: 'publish', retain: false, dup: false, ...packet }, () => done++)
      }
      await eventually(() => expect(mq.length).toBeGreaterThan(1_000))
      frozen.stream.destroy()
      await eventually(() => expect(done).toBe(MESSAGES))
      await eventually(() => expect(seen).toHaveLength(MESSAGES / 100))
      expect(seen).toEqual(Array.from({ length: MESSAGES / 100 }, (_, i) => 100 * i + 99))
      await eventually(() => expect(mq).toMatchObject({ current: 0, length: 0 }))
    } finally {
      await test.close()
    }
  })
})
