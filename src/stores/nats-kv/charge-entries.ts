import { type Limit, toGrains } from '../../algorithms/limit.ts'
import { pause, systemClock } from '../../core/clock.ts'
import { StoreError } from '../../core/errors.ts'
import { describeNumbers } from '../persistence/limit-fingerprint.ts'
import { Histories } from '../persistence/limit-history.ts'
import type { Charge, Verdict } from '../store.ts'
import type { Bucket } from './bucket.ts'
import { KeyLock } from './key-lock.ts'
import { encodeEntry, type KvEntry, lastsMs, openEntry, probe, take } from './kv-entry.ts'

/** Tries of one key, and the longest pause between two of them. */
const TRIES = 24
const LONGEST_PAUSE_MS = 32

/** The charges of a message that count on one key. */
interface Group {
  readonly subject: string
  readonly limit: Limit
  readonly charges: Charge[]
  /** The place of each among those of the message. */
  readonly places: number[]
  entry?: KvEntry | undefined
  /** What was taken of it; undefined where nothing was. */
  grains?: number | undefined
}

/** Reads, changes and writes the entries of a bucket, without two of this process ever racing for the same key. */
export class ChargeEntries {
  /** Writes another node was faster than. */
  conflicts = 0
  readonly #bucket: Bucket
  readonly #random: () => number
  readonly #onRefundFailed: (error: unknown) => void
  readonly #keyLock = new KeyLock()
  readonly #histories = new Histories(describeNumbers)

  constructor(bucket: Bucket, random: () => number, onRefundFailed: (error: unknown) => void) {
    this.#bucket = bucket
    this.#random = random
    this.#onRefundFailed = onRefundFailed
  }

  /**
   * All keys are read and asked before any is written; with `commit` all are then written, or none where a hard charge is
   * denied. A key that another node has changed in between is asked again: where it now denies, what the others took
   * is given back.
   */
  decide(
    charges: readonly Charge[],
    commit: boolean,
    nowMs: number,
    deadlineMs: number,
  ): Promise<readonly Verdict[]> {
    const groups = this.#groupByKey(charges)
    if (!commit) return this.#inTurn([], deadlineMs, () => this.#peek(groups, nowMs, deadlineMs))
    return this.#inTurn(groups, deadlineMs, () => this.#commit(groups, nowMs, deadlineMs))
  }

  /** Takes limits as in force from now on. */
  adopt(limits: readonly Limit[], nowMs: number): void {
    for (const limit of limits) this.#histories.adopt(limit, nowMs)
  }

  /** Gives back what allowed decisions took. */
  async refund(charges: readonly Charge[], nowMs: number, deadlineMs: number): Promise<void> {
    const groups = this.#groupByKey(charges)
    await this.#inTurn(groups, deadlineMs, () => this.#giveBack(groups, nowMs, deadlineMs))
  }

  async #peek(groups: readonly Group[], nowMs: number, deadlineMs: number): Promise<Verdict[]> {
    const verdicts: Verdict[] = []
    await this.#ask(groups, verdicts, nowMs, deadlineMs)
    return verdicts
  }

  async #commit(groups: readonly Group[], nowMs: number, deadlineMs: number): Promise<Verdict[]> {
    const verdicts: Verdict[] = []
    const written: Group[] = []
    let open = groups
    try {
      for (let attempt = 0; open.length > 0; attempt++) {
        if (attempt > 0) await this.#pause(attempt)
        const isDenied = await this.#ask(open, verdicts, nowMs, deadlineMs)
        const lost: Group[] = []
        await all(
          open.map(async group => {
            if (!isDenied && group.grains !== undefined) take(group.entry!, group.grains, nowMs)
            else if (!isBegun(group.entry!)) return
            if (!(await this.#write(group, nowMs, deadlineMs))) lost.push(group)
            else if (!isDenied && group.grains !== undefined) written.push(group)
          }),
        )
        // What begins with its first charge, though that was denied, may as well have been begun by another.
        open = isDenied ? [] : lost
        if (isDenied) await this.#undo(written, nowMs, deadlineMs)
      }
      return verdicts
    } catch (error) {
      await this.#undo(written, nowMs, deadlineMs)
      throw error
    }
  }

  /** Reads the keys and asks what each charge would get; true where a hard one is denied. */
  async #ask(
    groups: readonly Group[],
    verdicts: Verdict[],
    nowMs: number,
    deadlineMs: number,
  ): Promise<boolean> {
    await all(groups.map(group => this.#read(group, nowMs, deadlineMs)))
    let isDenied = false
    for (const group of groups) {
      const found = probe(group.entry!, group.charges, nowMs)
      group.grains = found.grains
      found.verdicts.forEach((verdict, index) => {
        verdicts[group.places[index]!] = verdict
        if (!verdict.allowed && group.charges[index]!.soft !== true) isDenied = true
      })
    }
    return isDenied
  }

  async #undo(written: readonly Group[], nowMs: number, deadlineMs: number): Promise<void> {
    if (written.length === 0) return
    const taken = written.map(group => ({
      ...group,
      charges: [{ ...group.charges[0]!, cost: group.grains! / group.limit.scale }],
    }))
    // Nobody is told: too few pass then, until the limit is whole again, never too many.
    await this.#giveBack(taken, nowMs, deadlineMs).catch(this.#onRefundFailed)
  }

  async #giveBack(groups: readonly Group[], nowMs: number, deadlineMs: number): Promise<void> {
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
    await this.#bucket.keepFor(lastsMs(entry!, nowMs), deadlineMs)
    const isWritten = await this.#bucket.stream.use(deadlineMs, () =>
      this.#bucket.write(subject, encodeEntry(entry!), entry!.revision, deadlineMs),
    )
    if (!isWritten) this.conflicts++
    return isWritten
  }

  /** Nodes that met once are not to meet again. */
  async #pause(attempt: number): Promise<void> {
    if (attempt >= TRIES) throw new StoreError(`nats: others were faster ${TRIES} times (use leases)`)
    const pauseMs = Math.floor(this.#random() * Math.min(2 ** attempt, LONGEST_PAUSE_MS))
    if (pauseMs > 0) await pause(systemClock, pauseMs)
  }

  #inTurn<T>(groups: readonly Group[], deadlineMs: number, work: () => Promise<T>): Promise<T> {
    const subjects = groups.map(({ subject }) => subject)
    return this.#keyLock.run(subjects, () => {
      if (systemClock.now() < deadlineMs) return work()
      throw new StoreError('nats: no answer in time, so many want the same key (use leases)')
    })
  }

  #groupByKey(charges: readonly Charge[]): Group[] {
    const groups = new Map<string, Group>()
    charges.forEach((charge, place) => {
      const subject = this.#bucket.subjectOf(charge.limit.name, charge.key)
      const group = groups.get(subject) ?? { subject, limit: charge.limit, charges: [], places: [] }
      groups.set(subject, group)
      group.charges.push(charge)
      group.places.push(place)
    })
    return [...groups.values()]
  }
}

/** A bucket that begins part full fills from its first charge on, also where that was denied. */
function isBegun({ isNew, cells }: KvEntry): boolean {
  return isNew && cells.some(cell => cell !== 0)
}

/** Waits for all, also where one fails: nothing is to go on behind the back of whoever is told. */
async function all(work: readonly Promise<unknown>[]): Promise<void> {
  const failed = (await Promise.allSettled(work)).find(({ status }) => status === 'rejected')
  if (failed?.status === 'rejected') throw failed.reason
}
