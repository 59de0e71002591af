import { type Limit, toGrains } from '../../algorithms/limit-types.ts'
import { sleep, systemClock } from '../../core/clock.ts'
import { StoreError } from '../../core/errors.ts'
import { fingerprintLimit } from '../persistence/limit-fingerprint.ts'
import { LimitHistories } from '../persistence/limit-history-for-migration.ts'
import type { Charge, Verdict } from '../store.ts'
import type { KvBucket } from './bucket.ts'
import { KeyLock } from './key-lock.ts'
import {
  chargeKvEntryInMemory,
  encodeKvEntry,
  type KvEntry,
  lifetimeMs,
  openEntry,
  probeCharges,
} from './kv-entry.ts'

/** Maximum attempts per key, and the longest pause between two of them. */
const MAX_ATTEMPTS = 24
const LONGEST_PAUSE_MS = 32

/** Charges of a message on one key. */
interface Group {
  readonly subject: string
  readonly limit: Limit
  readonly charges: Charge[]
  /** Index of each charge in the message. */
  readonly chargeIndexes: number[]
  entry?: KvEntry | undefined
  /** Grains taken; undefined if none. */
  grains?: number | undefined
}

/** Reads, changes and writes entries of a bucket; two calls of this process never compete for a key. */
export class KvEntryUpdater {
  /** Writes that another node preceded. */
  conflicts = 0
  readonly #bucket: KvBucket
  readonly #random: () => number
  readonly #onRefundFailed: (error: unknown) => void
  readonly #keyLock = new KeyLock()
  readonly #histories = new LimitHistories(fingerprintLimit)

  constructor(bucket: KvBucket, random: () => number, onRefundFailed: (error: unknown) => void) {
    this.#bucket = bucket
    this.#random = random
    this.#onRefundFailed = onRefundFailed
  }

  /**
   * Reads and probes all keys before it writes any; with `commit` writes all, or none if a hard charge is denied.
   * Probes a key again if another node changed it in between; if it then denies, the other keys are refunded.
   */
  decide(
    charges: readonly Charge[],
    commit: boolean,
    nowMs: number,
    deadlineMs: number,
  ): Promise<readonly Verdict[]> {
    const groups = this.#groupByKey(charges)
    if (!commit) return this.#runLocked([], deadlineMs, () => this.#peek(groups, nowMs, deadlineMs))
    return this.#runLocked(groups, deadlineMs, () => this.#commit(groups, nowMs, deadlineMs))
  }

  /** Makes limits active from now on. */
  adopt(limits: readonly Limit[], nowMs: number): void {
    for (const limit of limits) this.#histories.adopt(limit, nowMs)
  }

  /** Refunds what allowed decisions took. */
  async refund(charges: readonly Charge[], nowMs: number, deadlineMs: number): Promise<void> {
    const groups = this.#groupByKey(charges)
    await this.#runLocked(groups, deadlineMs, () => this.#refundGroups(groups, nowMs, deadlineMs))
  }

  async #peek(groups: readonly Group[], nowMs: number, deadlineMs: number): Promise<Verdict[]> {
    const verdicts: Verdict[] = []
    await this.#probeGroups(groups, verdicts, nowMs, deadlineMs)
    return verdicts
  }

  async #commit(groups: readonly Group[], nowMs: number, deadlineMs: number): Promise<Verdict[]> {
    const verdicts: Verdict[] = []
    const written: Group[] = []
    let open = groups
    try {
      for (let attempt = 0; open.length > 0; attempt++) {
        if (attempt > 0) await this.#pause(attempt)
        const isDenied = await this.#probeGroups(open, verdicts, nowMs, deadlineMs)
        const lost: Group[] = []
        await all(
          open.map(async group => {
            if (!isDenied && group.grains !== undefined)
              chargeKvEntryInMemory(group.entry!, group.grains, nowMs)
            else if (!hasStartedFilling(group.entry!)) return
            if (!(await this.#write(group, nowMs, deadlineMs))) lost.push(group)
            else if (!isDenied && group.grains !== undefined) written.push(group)
          }),
        )
        // A key that starts at its first, denied charge may as well have been started by another node.
        open = isDenied ? [] : lost
        if (isDenied) await this.#refundWritten(written, nowMs, deadlineMs)
      }
      return verdicts
    } catch (error) {
      await this.#refundWritten(written, nowMs, deadlineMs)
      throw error
    }
  }

  /** Reads the keys and probes each charge; returns true if a hard one is denied. */
  async #probeGroups(
    groups: readonly Group[],
    verdicts: Verdict[],
    nowMs: number,
    deadlineMs: number,
  ): Promise<boolean> {
    await all(groups.map(group => this.#read(group, nowMs, deadlineMs)))
    let isDenied = false
    for (const group of groups) {
      const found = probeCharges(group.entry!, group.charges, nowMs)
      group.grains = found.grains
      found.verdicts.forEach((verdict, index) => {
        verdicts[group.chargeIndexes[index]!] = verdict
        if (!verdict.allowed && group.charges[index]!.soft !== true) isDenied = true
      })
    }
    return isDenied
  }

  async #refundWritten(written: readonly Group[], nowMs: number, deadlineMs: number): Promise<void> {
    if (written.length === 0) return
    const taken = written.map(group => ({
      ...group,
      charges: [{ ...group.charges[0]!, cost: group.grains! / group.limit.scale }],
    }))
    // A failed refund is only logged: too few messages pass until the limit refills, never too many.
    await this.#refundGroups(taken, nowMs, deadlineMs).catch(this.#onRefundFailed)
  }

  async #refundGroups(groups: readonly Group[], nowMs: number, deadlineMs: number): Promise<void> {
    await all(
      groups.map(async group => {
        for (let attempt = 0; ; attempt++) {
          if (attempt > 0) await this.#pause(attempt)
          const entry = await this.#read(group, nowMs, deadlineMs)
          if (entry.isNew) return
          for (const { cost } of group.charges) {
            entry.limit.kernel.refund(entry.cells, 0, nowMs, toGrains(cost, entry.limit), entry.limit)
          }
          if (await this.#write(group, nowMs, deadlineMs)) return
        }
      }),
    )
  }

  async #read(group: Group, nowMs: number, deadlineMs: number): Promise<KvEntry> {
    const kept = await this.#bucket.stream.use(deadlineMs, () => this.#bucket.read(group.subject, deadlineMs))
    const history = this.#histories.adopt(group.limit, nowMs)
    group.entry = openEntry(kept, group.limit, nowMs, history)
    return group.entry
  }

  async #write({ subject, entry }: Group, nowMs: number, deadlineMs: number): Promise<boolean> {
    await this.#bucket.keepFor(lifetimeMs(entry!, nowMs), deadlineMs)
    const isWritten = await this.#bucket.stream.use(deadlineMs, () =>
      this.#bucket.write(subject, encodeKvEntry(entry!), entry!.revision, deadlineMs),
    )
    if (!isWritten) this.conflicts++
    return isWritten
  }

  /** Waits a random time, so that conflicting nodes do not retry together. */
  async #pause(attempt: number): Promise<void> {
    if (attempt >= MAX_ATTEMPTS)
      throw new StoreError(`nats: ${MAX_ATTEMPTS} attempts met writes of other nodes (use leases)`)
    const pauseMs = Math.floor(this.#random() * Math.min(2 ** attempt, LONGEST_PAUSE_MS))
    if (pauseMs > 0) await sleep(systemClock, pauseMs)
  }

  #runLocked<T>(groups: readonly Group[], deadlineMs: number, work: () => Promise<T>): Promise<T> {
    const subjects = groups.map(({ subject }) => subject)
    return this.#keyLock.run(subjects, () => {
      if (systemClock.now() < deadlineMs) return work()
      throw new StoreError('nats: no answer in time: too many decisions on the same key (use leases)')
    })
  }

  #groupByKey(charges: readonly Charge[]): Group[] {
    const groups = new Map<string, Group>()
    charges.forEach((charge, chargeIndex) => {
      const subject = this.#bucket.subjectOf(charge.limit.name, charge.key)
      const group = groups.get(subject) ?? { subject, limit: charge.limit, charges: [], chargeIndexes: [] }
      groups.set(subject, group)
      group.charges.push(charge)
      group.chargeIndexes.push(chargeIndex)
    })
    return [...groups.values()]
  }
}

/** Returns true for a bucket that starts partly full: it begins to fill at its first charge, even if that is denied. */
function hasStartedFilling({ isNew, cells }: KvEntry): boolean {
  return isNew && cells.some(cell => cell !== 0)
}

/** Waits for all promises, even if one fails, so that no work continues after the caller has its result. */
async function all(work: readonly Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(work)).find(({ status }) => status === 'rejected')
  if (failed?.status === 'rejected') throw failed.reason
}
