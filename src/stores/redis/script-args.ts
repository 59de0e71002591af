import { stateSizeOf } from '../../algorithms/custom.ts'
import { type Limit, startsBelowFull } from '../../algorithms/limit.ts'
import type { History } from '../persistence/limit-history.ts'
import { twinOf } from './script.ts'

/** What is asked of a step's charges. To look is to peek, but buckets that begin part full begin to fill. */
export const PEEK = 0
export const COMMIT = 1
export const REFUND = 2
export const LOOK = 3

/** A charge with its state key, counted in grains. */
export interface KeyedCharge {
  readonly stateKey: string
  readonly limit: Limit
  readonly grains: number
  readonly soft: boolean
}

/** One message's charges, all of one slot. */
export interface Step {
  readonly kind: typeof PEEK | typeof COMMIT | typeof REFUND | typeof LOOK
  readonly charges: readonly KeyedCharge[]
  /** The caller's time; undefined: the server's. */
  readonly nowMs: number | undefined
}

export interface ScriptArgs {
  readonly keys: readonly string[]
  /** What decide.lua reads as ARGV[1]. */
  readonly text: string
  readonly hasCustoms: boolean
}

/** Since when the limits of a call have been in force, and what was before. */
export interface CallHistories {
  historyOf(limit: Limit): History
  /** The moment of the call by the clock of these histories. */
  readonly nowMs: number
}

export interface CallTimes {
  /** Of the server's clock; past it nothing is done. */
  readonly deadlineMs: number
  /** A moment near that of the decision: which windows of quotas to tell of. */
  readonly aroundMs: number
  /** How long state outlives its time, for callers whose clocks stand apart. */
  readonly graceMs: number
}

/** Writes steps of equal `nowMs` as one call of decide.lua. */
export function buildScriptArgs(
  steps: readonly Step[],
  { deadlineMs, aroundMs, graceMs }: CallTimes,
  histories: CallHistories,
): ScriptArgs {
  const keys = new Map<string, number>()
  const limits = new Map<Limit, number>()
  let messages = ''
  let hasCustoms = false
  for (const { kind, charges } of steps) {
    messages += `${messages === '' ? '' : ','}${kind},${charges.length}`
    for (const { stateKey, limit, grains, soft } of charges) {
      messages += `,${placeOf(keys, stateKey)},${placeOf(limits, limit)},${numberText(grains)},${soft ? 1 : 0}`
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

/** The place of a thing from 1, as Lua counts. */
function placeOf<T>(places: Map<T, number>, thing: T): number {
  let place = places.get(thing)
  if (place === undefined) {
    place = places.size + 1
    places.set(thing, place)
  }
  return place
}

/** JSON has no word for infinity; what is too large for a double is read as infinite. */
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

function historyText(history: History, nowMs: number): string {
  const agoMs = nowMs - history.at(-1)!.sinceMs
  if (history.length === 1) return `,"ago":${agoMs},"before":[]`
  const before = history.slice(0, -1).map(({ text, sinceMs, limit }) => {
    const calendar = limit?.calendar
    return {
      header: text,
      ago: nowMs - sinceMs,
      ...(calendar === undefined ? {} : { borders: bordersOf(calendar, sinceMs) }),
    }
  })
  return `,"ago":${agoMs},"before":${JSON.stringify(before)}`
}

/** The header that values counted by a limit begin with: see readHeader of decide.lua. */
export function headerOf(limit: Limit): string {
  const { scale, countGrains, periodMs, capacityGrains } = limit
  const kind = kindOf(limit)
  return `2 ${twinOf(limit)} ${scale} ${countGrains} ${periodMs} ${capacityGrains}${kind && ` ${kind}`}\n`
}

/** The windows of a quota, or that a bucket starts below full. */
function kindOf(limit: Limit): string {
  if (limit.calendar !== undefined) return limit.calendar.id
  return startsBelowFull(limit) ? 'initial' : ''
}

/** What the twins read of a limit. */
function limitFields(limit: Limit): object {
  const { custom, scale, countGrains, periodMs, capacityGrains } = limit
  const common = {
    algorithm: twinOf(limit),
    header: headerOf(limit),
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

/** The start of the window around a moment, its end, and the end of the next. */
function bordersOf(calendar: NonNullable<Limit['calendar']>, aroundMs: number): readonly number[] {
  const endMs = calendar.endOf(aroundMs)
  return [calendar.startOf(aroundMs), endMs, calendar.endOf(endMs)]
}
