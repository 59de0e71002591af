import { describe, expect, it } from 'vitest'
import { MessageCapture } from '../../../../src/admin/state/message-capture.ts'
import {
  MergedWorkerCapture,
  type WorkerCaptures,
} from '../../../../src/cli/workers/merged-worker-capture.ts'
import type { CapturedPart, CaptureRequest } from '../../../../src/cli/workers/worker-api.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { createSender, Gate } from '../../../../src/index.ts'
import { FakeClock } from '../../../support/fake-clock.ts'

const CAPTURE = { forMs: 10_000, max: 1_000_000, hashSenders: false }

/** A worker that decides messages, and captures them when it is asked. */
class CapturingWorker {
  readonly #gate: Gate
  #capture: MessageCapture | undefined

  constructor(clock: FakeClock) {
    this.#gate = new Gate({ clock })
  }

  decide(topic: string): void {
    this.#gate.checkSync({ topic, sender: createSender({ client: 'c' }), size: 1 })
  }

  read(request: CaptureRequest): CapturedPart {
    this.#capture ??= new MessageCapture(this.#gate, request)
    return { lines: this.#capture.takeLines(), isEnded: this.#capture.isEnded }
  }
}

function createWorkers(clock: FakeClock): {
  readonly workers: CapturingWorker[]
  readonly captures: WorkerCaptures
  readonly ends: () => number
} {
  const workers = [new CapturingWorker(clock), new CapturingWorker(clock)]
  let ends = 0
  return {
    workers,
    captures: {
      read: async request => workers.map(worker => worker.read(request)),
      end: () => {
        ends++
      },
    },
    ends: () => ends,
  }
}

async function readAll(
  capture: MergedWorkerCapture,
): Promise<{ topic: string; at: number; client: string }[]> {
  const lines: string[] = []
  for (let text = await capture.next(); text !== undefined; text = await capture.next())
    lines.push(...text.trim().split('\n'))
  return lines.map(line => JSON.parse(line))
}

describe('a capture of workers', () => {
  it('has the messages of all workers in the order of their time, until its time is over', async () => {
    const clock = new FakeClock()
    const { workers, captures, ends } = createWorkers(clock)
    const capture = new MergedWorkerCapture(clock, CAPTURE, captures)
    const all = readAll(capture)
    await clock.advanceAsync(0)
    for (let n = 0; n < 100; n++) {
      workers[(n * 7) % 2]!.decide(`t/${n}`)
      await clock.advanceAsync(10)
    }
    // One that takes the place of another begins to capture too.
    workers[0] = new CapturingWorker(clock)
    await clock.advanceAsync(200)
    workers[0].decide('t/100')
    await clock.advanceAsync(CAPTURE.forMs)
    const messages = await all
    expect(messages.map(({ topic }) => topic)).toEqual(Array.from({ length: 101 }, (_, n) => `t/${n}`))
    expect(messages.map(({ at }) => at)).toEqual(messages.map(({ at }) => at).toSorted((a, b) => a - b))
    expect(ends()).toBe(1)
  })

  it('keeps lines back that are later than ones a worker may still have', async () => {
    const clock = new FakeClock()
    const { workers, captures } = createWorkers(clock)
    const [one, two] = workers as [CapturingWorker, CapturingWorker]
    let isFirst = true
    const capture = new MergedWorkerCapture(clock, CAPTURE, {
      ...captures,
      read: async request => {
        const parts = [one.read(request)]
        two.read(request)
        if (isFirst) {
          isFirst = false
          // Between the answers of both.
          one.decide('earlier')
          clock.advance(5)
          two.decide('later')
        }
        return [...parts, two.read(request)]
      },
    })
    const all = readAll(capture)
    await clock.advanceAsync(CAPTURE.forMs)
    expect((await all).map(({ topic }) => topic)).toEqual(['earlier', 'later'])
  })

  it('ends after its number of messages, and if a worker is not read fast enough', async () => {
    const clock = new FakeClock()
    for (const [max, expected] of [
      [10, 10],
      [1_000_000, MAX_SIZES.capturedLines],
    ] as const) {
      const { workers, captures, ends } = createWorkers(clock)
      const capture = new MergedWorkerCapture(clock, { ...CAPTURE, max }, captures)
      for (const worker of workers) worker.read({ ...CAPTURE, max, id: 'x' })
      for (let n = 0; n < MAX_SIZES.capturedLines + 5; n++) workers[n % 10 === 0 ? 1 : 0]!.decide('t')
      await clock.advanceAsync(1)
      for (let n = 0; n < MAX_SIZES.capturedLines; n++) workers[0]!.decide('t')
      const messages = await readAll(capture)
      expect(messages.length).toBeGreaterThanOrEqual(expected)
      expect(messages.length).toBeLessThan(expected === 10 ? 11 : 2 * expected)
      expect(ends()).toBe(1)
    }
  })

  it('has the same hashes for a sender at all workers', async () => {
    const clock = new FakeClock()
    const { workers, captures } = createWorkers(clock)
    const capture = new MergedWorkerCapture(clock, { ...CAPTURE, hashSenders: true }, captures)
    const all = readAll(capture)
    await clock.advanceAsync(0)
    for (const worker of workers) worker.decide('t')
    await clock.advanceAsync(CAPTURE.forMs)
    const names = (await all).map(({ client }) => client)
    expect(names).toHaveLength(2)
    expect(new Set(names).size).toBe(1)
    expect(names[0]).not.toBe('c')
  })
})
