/** Job that waits for a free slot. */
interface Job {
  readonly isCancelled: () => boolean
  readonly start: () => void
  readonly refuse: () => void
}

export interface FairQueueOptions {
  readonly concurrent: number
  /** Maximum waiting jobs, of one key and in total. Further ones are refused. */
  readonly maxPerKey: number
  readonly maxTotal: number
}

/** Limits concurrent jobs. Keys, such as addresses, take turns, so that one with many jobs does not delay the others. */
export class FairQueue {
  readonly #options: FairQueueOptions
  /** Waiting jobs by key, in the order of the turns. */
  readonly #waiting = new Map<string, Job[]>()
  #waitingCount = 0
  #running = 0

  constructor(options: FairQueueOptions) {
    this.#options = options
  }

  get waiting(): number {
    return this.#waitingCount
  }

  get running(): number {
    return this.#running
  }

  /** Runs a job when it is its turn. Returns undefined if the queue is full or the job was cancelled meanwhile. */
  async run<T>(key: string, isCancelled: () => boolean, job: () => Promise<T>): Promise<T | undefined> {
    if (!(await this.#enter(key, isCancelled))) return undefined
    try {
      return await job()
    } finally {
      this.#running--
      this.#startNext()
    }
  }

  #enter(key: string, isCancelled: () => boolean): Promise<boolean> {
    const { concurrent, maxPerKey, maxTotal } = this.#options
    if (this.#running < concurrent) {
      this.#running++
      return Promise.resolve(true)
    }
    const jobs = this.#waiting.get(key) ?? []
    if (jobs.length >= maxPerKey || this.#waitingCount >= maxTotal) return Promise.resolve(false)
    return new Promise(resolve => {
      jobs.push({ isCancelled, start: () => resolve(true), refuse: () => resolve(false) })
      this.#waiting.set(key, jobs)
      this.#waitingCount++
    })
  }

  #startNext(): void {
    for (const [key, jobs] of this.#waiting) {
      const job = jobs.shift()!
      this.#waitingCount--
      this.#waiting.delete(key)
      if (jobs.length > 0) this.#waiting.set(key, jobs)
      if (job.isCancelled()) {
        job.refuse()
        continue
      }
      this.#running++
      job.start()
      return
    }
  }
}
