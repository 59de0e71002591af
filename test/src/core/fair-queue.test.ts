import { expect, it } from 'vitest'
import { FairQueue } from '../../../src/core/fair-queue.ts'

const never = (): boolean => false

/** Jobs that end when the test says so, and the order in which they started. */
class Jobs {
  readonly started: string[] = []
  readonly #finish: (() => void)[] = []

  job(name: string): () => Promise<string> {
    return () => {
      this.started.push(name)
      return new Promise(resolve => this.#finish.push(() => resolve(name)))
    }
  }

  async finishNext(): Promise<void> {
    await new Promise(resolve => setImmediate(resolve))
    this.#finish.shift()!()
    await new Promise(resolve => setImmediate(resolve))
  }
}

it('keys take turns, however many jobs one of them has', async () => {
  const queue = new FairQueue({ concurrent: 1, maxPerKey: 10, maxTotal: 10 })
  const jobs = new Jobs()
  const all = ['a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'c1'].map(name =>
    queue.run(name[0]!, never, jobs.job(name)),
  )
  for (let n = 0; n < 7; n++) await jobs.finishNext()
  expect(jobs.started).toEqual(['a1', 'a2', 'b1', 'c1', 'a3', 'b2', 'a4'])
  expect(await Promise.all(all)).toEqual(['a1', 'a2', 'a3', 'a4', 'b1', 'b2', 'c1'])
})

it('no more jobs run at the same time than allowed, and those beyond the maxima are refused', async () => {
  const queue = new FairQueue({ concurrent: 2, maxPerKey: 2, maxTotal: 3 })
  const jobs = new Jobs()
  const results = ['a1', 'a2', 'a3', 'a4', 'a5', 'b1', 'b2'].map(name =>
    queue.run(name[0]!, never, jobs.job(name)),
  )
  await new Promise(resolve => setImmediate(resolve))
  expect(jobs.started).toEqual(['a1', 'a2'])
  expect(queue.waiting).toBe(3)
  expect(await results[4]).toBeUndefined()
  expect(await results[6]).toBeUndefined()
  for (let n = 0; n < 5; n++) await jobs.finishNext()
  expect(jobs.started.toSorted()).toEqual(['a1', 'a2', 'a3', 'a4', 'b1'])
  expect(queue.waiting).toBe(0)
})

it('a job that was cancelled while it waited is not run, and a failed one frees its slot', async () => {
  const queue = new FairQueue({ concurrent: 1, maxPerKey: 10, maxTotal: 10 })
  const jobs = new Jobs()
  const failed = queue.run('a', never, () => Promise.reject(new Error('broken')))
  let isCancelled = false
  const cancelled = queue.run('b', () => isCancelled, jobs.job('b'))
  const last = queue.run('c', never, jobs.job('c'))
  isCancelled = true
  await expect(failed).rejects.toThrow('broken')
  await new Promise(resolve => setImmediate(resolve))
  await jobs.finishNext()
  expect(await cancelled).toBeUndefined()
  expect(await last).toBe('c')
  expect(jobs.started).toEqual(['c'])
})
