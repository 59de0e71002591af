import { stateSizeOf } from '../../algorithms/custom.ts'
import { type Limit, startsBelowFull } from '../../algorithms/limit-types.ts'
import type { LimitHistory } from '../persistence/limit-history-for-migration.ts'
import { getLuaName } from './script.ts'

/** Modes of a step. `PEEK_AND_START` is a peek, except that buckets that start partly full begin to fill. */
export const PEEK = 0
export const SCRIPT_COMMIT = 1
export const REFUND = 2
export const PEEK_AND_START = 3

/** Charge with its state key, in grains. */
export interface KeyedCharge {
  readonly stateKey: string
  readonly limit: Limit
  readonly grains: number
  readonly soft: boolean
}

/** Charges of one message, all of one slot. */
export interface ScriptStep {
  readonly kind: typeof PEEK | typeof SCRIPT_COMMIT | typeof REFUND | typeof PEEK_AND_START
  readonly charges: readonly KeyedCharge[]
  /** Time of the caller; undefined: the server's. */
  readonly nowMs: number | undefined
}

export interface ScriptArgs {
  readonly keys: readonly string[]
  /** ARGV[1] of decide.lua. */
  readonly text: string
  readonly hasCustoms: boolean
}

/** Activation times of the limits of a call, and their earlier numbers. */
export interface ScriptLimitHistories {
  historyOf(limit: Limit): LimitHistory
  /** Time of the call by the clock of these histories. */
  readonly nowMs: number
}

export interface ScriptTiming {
  /** Deadline by the server's clock; later calls do nothing. */
  readonly deadlineMs: number
  /** Time near the decision, which selects the quota windows to send. */
  readonly aroundMs: number
  /** Extra time to live of stored state, for callers whose clocks may differ. */
  readonly graceMs: number
}

/** Serialises steps of equal `nowMs` as one call of decide.lua. */
export function buildScriptArgs(
  steps: readonly ScriptStep[],
  { deadlineMs, aroundMs, graceMs }: ScriptTiming,
  histories: ScriptLimitHistories,
): ScriptArgs {
  const keys = new Map<string, number>()
  const limits = new Map<Limit, number>()
  let messages = ''
  let hasCustoms = false
  for (const { kind, charges } of steps) {
    messages += `${messages === '' ? '' : ','}${kind},${charges.length}`
    for (const { stateKey, limit, grains, soft } of charges) {
      messages += `,${luaIndexOf(keys, stateKey)},${luaIndexOf(limits, limit)},${numberText(grains)},${soft ? 1 : 0}`
      if (limit.custom !== undefined) hasCustoms = true
    }
  }
  const nowMs = steps[0]?.nowMs
  const limitTexts = Array.from(limits.keys(), limit => {
    return `${limitText(limit, nowMs ?? aroundMs)}${historyText(histories.historyOf(limit), histories.nowMs)}}`
  })
  const now = nowMs === undefined ? '' : `"nowMs":${nowMs},`
  const text = `{"deadlineMs":${deadlineMs},${now}"graceMs":${graceMs},"limits":[${limitTexts.join(',')}],"messages":[${messages}]}`
  return { keys: [...keys.keys()], text, hasCustoms }
}

/** Returns the 1-based index of an item, as Lua counts. */
function luaIndexOf<T>(indexes: Map<T, number>, item: T): number {
  let index = indexes.get(item)
  if (index === undefined) {
    index = indexes.size + 1
    indexes.set(item, index)
  }
  return index
}

/** Serialises a number. JSON has no infinity; Lua reads a number too large for a double as infinite. */
function numberText(value: number): string {
  return value === Infinity ? '1e999' : String(value)
}

const texts = new WeakMap<Limit, string>()

function limitText(limit: Limit, aroundMs: number): string {
  let text = texts.get(limit)
  if (text === undefined) {
    text = JSON.stringify(limitFields(limit)).slice(0, -1)
    texts.set(limit, text)
  }
  return limit.calendar === undefined ? text : `${text},"borders":[${bordersOf(limit.calendar, aroundMs)}]`
}

function historyText(history: LimitHistory, nowMs: number): string {
  const agoMs = nowMs - history.at(-1)!.sinceMs
  if (history.length === 1) return `,"ago":${agoMs},"before":[]`
  const before = history.slice(0, -1).map(({ text, sinceMs, limit }) => {
    const calendar = limit?.calendar
    return {
      header: text,
      ago: nowMs - sinceMs,
      borders: calendar === undefined ? undefined : bordersOf(calendar, sinceMs),
    }
  })
  return `,"ago":${agoMs},"before":${JSON.stringify(before)}`
}

/** Returns the header of values counted by a limit: see readHeader of decide.lua. */
export function buildStateHeader(limit: Limit): string {
  const { scale, countGrains, periodMs, capacityGrains } = limit
  const kind = kindOf(limit)
  return `2 ${getLuaName(limit)} ${scale} ${countGrains} ${periodMs} ${capacityGrains}${kind && ` ${kind}`}\n`
}

/** Returns the calendar of a quota, or the mark of a bucket that starts below full. */
function kindOf(limit: Limit): string {
  if (limit.calendar !== undefined) return limit.calendar.id
  return startsBelowFull(limit) ? 'initial' : ''
}

/** Returns the fields of a limit that the Lua algorithms read. */
function limitFields(limit: Limit): object {
  const { custom, scale, countGrains, periodMs, capacityGrains } = limit
  const common = {
    algorithm: getLuaName(limit),
    header: buildStateHeader(limit),
    scale,
    countGrains,
    periodMs,
    capacityGrains,
    calendar: kindOf(limit),
  }
  if (custom !== undefined) {
    return { ...common, count: limit.count, capacity: limit.capacity, stateSize: stateSizeOf(custom) }
  }
  const { initialGrains, stepsPerGrain, stepsPerMs, capacitySteps } = limit
  if (limit.algorithm === 'leaky-bucket') return { ...common, stepsPerGrain, stepsPerMs }
  if (limit.algorithm !== 'token-bucket') return common
  return { ...common, initialGrains, stepsPerGrain, stepsPerMs, capacitySteps }
}

/** Returns the start of the window around a time, its end, and the end of the next. */
function bordersOf(calendar: NonNullable<Limit['calendar']>, aroundMs: number): readonly number[] {
  const endMs = calendar.endOf(aroundMs)
  return [calendar.startOf(aroundMs), endMs, calendar.endOf(endMs)]
}
