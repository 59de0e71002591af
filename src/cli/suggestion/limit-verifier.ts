import { HeavyHitters } from '../../analytics/heavy-hitters.ts'
import type { Decision } from '../../core/decision.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import { andThen } from '../../core/maybe-promise.ts'
import type { MaybePromise, Message } from '../../core/message.ts'
import { Gate, MemoryStore } from '../../index.ts'
import type { CaptureRecord } from '../capture/capture-format.ts'
import { ReplayEngine } from '../replay/replay-engine.ts'
import { nameSender } from '../replay/replay-totals.ts'
import { VIRTUAL_SWEEP_MS, VirtualClock } from '../replay/virtual-clock.ts'
import type { MessageGroups } from './message-groups.ts'
import { formatPolicy, type SuggestedPolicy, type Verification } from './suggested-policy.ts'

const WORST_SHOWN = 3

/** Decides messages with suggested rules in force, from full buckets on, and counts what senders would lose. */
export class LimitVerifier {
  readonly #gate: Gate
  readonly #engine: ReplayEngine
  readonly #groups: MessageGroups
  /** Keys that are outliers, by rule. */
  readonly #outliers: ReadonlyMap<string, ReadonlySet<string>>
  readonly #ordinary = { messages: 0, refused: 0 }
  readonly #outlying = { messages: 0, refused: 0 }
  readonly #worst = new HeavyHitters(MAX_SIZES.countedSenders)

  private constructor(gate: Gate, engine: ReplayEngine, groups: MessageGroups, policy: SuggestedPolicy) {
    this.#gate = gate
    this.#engine = engine
    this.#groups = groups
    this.#outliers = new Map(
      policy.rules.map(({ name, fit }) => [name, new Set(fit.outliers.map(({ key }) => key))]),
    )
  }

  static async create(policy: SuggestedPolicy, groups: MessageGroups): Promise<LimitVerifier> {
    const clock = new VirtualClock()
    const store = new MemoryStore({ clock, sweepMs: VIRTUAL_SWEEP_MS })
    const gate = await Gate.fromPolicy(formatPolicy(policy), { clock, store })
    return new LimitVerifier(gate, new ReplayEngine(gate, clock), groups, policy)
  }

  get verification(): Verification {
    return { ordinary: this.#ordinary, outliers: this.#outlying, worst: this.#worst.top(WORST_SHOWN) }
  }

  decide(record: CaptureRecord): MaybePromise<void> {
    return andThen(this.#engine.decide(record), decision => this.#count(record.message, decision))
  }

  close(): Promise<void> {
    return this.#gate.close()
  }

  #count(message: Message, { allowed }: Decision): void {
    let isOutlier = false
    this.#groups.visit(message, (group, key) => {
      isOutlier ||= this.#outliers.get(group.name)?.has(key) ?? false
    })
    const total = isOutlier ? this.#outlying : this.#ordinary
    total.messages++
    if (allowed) return
    total.refused++
    if (!isOutlier) this.#worst.add(nameSender(message.sender), 1)
  }
}
