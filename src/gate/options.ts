import type { Clock } from '../core/clock.ts'
import type { Logger } from '../core/logger.ts'
import type { Dialect } from '../core/message.ts'
import type { OptionNames } from '../core/option-names.ts'
import type { Store } from '../stores/store.ts'
import type { ReadOptions } from './policy-source.ts'
import type { RuntimeConfigOptions } from './runtime-config.ts'

export const GATE_OPTIONS: OptionNames<GateOptions> = {
  env: true,
  algorithms: true,
  load: true,
  tiers: true,
  tierOf: true,
  penalties: true,
  behaviour: true,
  store: true,
  clock: true,
  dialect: true,
  logger: true,
  watch: true,
}

/** Options of a gate. */
export interface GateOptions extends ReadOptions, RuntimeConfigOptions {
  /**
   * Store of the counters; it stays open when the gate is closed. Default: the store that the policy names,
   * or a MemoryStore, which the gate closes itself.
   */
  readonly store?: Store | undefined
  readonly clock?: Clock | undefined
  readonly dialect?: Dialect | undefined
  readonly logger?: Logger | undefined
  /** For `fromPolicy`: watch the policy's files and apply each valid change. Default: false. */
  readonly watch?: boolean | undefined
}
