import type { Middleware } from '../chain/middleware-types.ts'
import { MIDDLEWARE_META } from '../chain/rules/create-limit-middleware.ts'
import type { HandlerFeedbackMeta, HandlerMiddlewareHost } from '../chain/rules/handler-feedback-types.ts'
import { StateKeptAcrossReload } from '../chain/rules/reload-state.ts'
import { type Clock, systemClock } from '../core/clock.ts'
import type { Decision } from '../core/decision.ts'
import { policyError } from '../core/errors.ts'
import { hashLongPart } from '../core/hash-long-part.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { andThen } from '../core/maybe-promise.ts'
import type { Message } from '../core/message.ts'
import { checkOptionNames, type KnownOptions } from '../core/option-names.ts'

export interface HandlerBreakerOptions {
  /** Name in its refusals. Default: breaker. */
  readonly name?: string | undefined
  /** Returns the key of messages that fail together. Default: the topic. */
  readonly keyOf?: ((message: Message) => string) | undefined
  /** Share of failures above which it opens. Default: 0.5. */
  readonly failures?: number | undefined
  /** Minimum number of messages in a window, exclusive. Default: 10. */
  readonly least?: number | undefined
  /** Default: 10,000. */
  readonly windowMs?: number | undefined
  /** Time after opening before one message may try. Default: 5,000. */
  readonly openMs?: number | undefined
  /** Outcome of messages while it is open. Default: retry. */
  readonly exceeded?: 'retry' | 'throttle' | 'drop' | 'reject' | undefined
  /** Default: the gate's clock. */
  readonly clock?: Clock | undefined
}

const OPTIONS: KnownOptions<HandlerBreakerOptions> = {
  name: true,
  keyOf: true,
  failures: true,
  least: true,
  windowMs: true,
  openMs: true,
  exceeded: true,
  clock: true,
}

export type CircuitState = 'closed' | 'open' | 'half-open'

/** A circuit breaker: keeps messages from a failing handler. */
export interface CircuitBreaker {
  /** Records the result of a handler. Not needed if a consumer of topicgate runs the handler. */
  observe(message: Message, ok: boolean): void
  stateOf(message: Message): CircuitState
  /** Returns the number of known keys, and of those that are not closed. */
  stats(): { readonly keys: number; readonly open: number }
  /** Middleware for `gate.use(breaker.guard)`. */
  readonly guard: Middleware
}

interface Circuit {
  windowMs: number
  done: number
  failed: number
  /** Time of opening; undefined while closed. */
  openedMs: number | undefined
  /** Time at which a trial message passed; undefined if none is pending. */
  triedMs: number | undefined
}

/**
 * A circuit breaker per key. It opens when more than half of more than ten messages of a window failed. After
 * `openMs`, one message at a time may try, and its success closes the breaker. A trial without a result is
 * given up after `openMs`. The least recent keys are forgotten. `stateKey` identifies the options, so that a
 * reloaded policy continues with the same breaker. Throws PolicyError.
 */
export function circuitBreaker(options: HandlerBreakerOptions = {}, stateKey?: string): CircuitBreaker {
  checkOptionNames(options, OPTIONS)
  const { keyOf = topicOf, failures = 0.5, least = 10, windowMs = 10_000, openMs = 5_000 } = options
  const { exceeded = 'retry', name = 'breaker' } = options
  for (const [path, value] of Object.entries({ windowMs, openMs })) {
    if (!(value >= 1)) throw policyError(path, `${value} is not a duration`, 'use milliseconds, at least 1')
  }
  if (!(failures > 0 && failures < 1))
    throw policyError(
      'failures',
      `${failures} is not a share of failures`,
      'use one between 0 and 1, as 0.5 (50%)',
    )
  if (!(least >= 1)) throw policyError('least', `${least} cannot be counted`, 'use 10')
  let clock = options.clock ?? systemClock
  let host: HandlerMiddlewareHost | undefined
  const state = new StateKeptAcrossReload(stateKey && `breaker ${stateKey}`, new Map<string, Circuit>())

  const keyFor = (message: Message): string => {
    try {
      return hashLongPart(String(keyOf(message)))
    } catch {
      // Messages whose key cannot be computed share the empty key.
      return ''
    }
  }
  const stateAt = (circuit: Circuit | undefined, nowMs: number): CircuitState => {
    if (circuit?.openedMs === undefined) return 'closed'
    return nowMs >= circuit.openedMs + openMs ? 'half-open' : 'open'
  }
  const make = (key: string, nowMs: number): Circuit => {
    if (state.value.size >= MAX_SIZES.breakerKeys) state.value.delete(state.value.keys().next().value!)
    const made = { windowMs: nowMs, done: 0, failed: 0, openedMs: undefined, triedMs: undefined }
    state.value.set(key, made)
    return made
  }
  const open = (key: string, circuit: Circuit, nowMs: number): void => {
    circuit.openedMs = nowMs
    host?.opened?.(key, nowMs + openMs)
  }
  /** Returns the wait of a message; 0 if it may pass or try. */
  const waitAt = (circuit: Circuit | undefined, nowMs: number): number => {
    if (circuit?.openedMs === undefined) return 0
    return Math.max(0, Math.max(circuit.openedMs, circuit.triedMs ?? -Infinity) + openMs - nowMs)
  }
  const refuse = (waitMs: number): Decision => ({
    allowed: false,
    outcome: exceeded,
    reason: 'handler_failing',
    rule: name,
    retryAfterMs: Math.max(1, Math.ceil(waitMs)),
  })
  const guard: Middleware = (message, next) => {
    const circuit = state.value.get(keyFor(message))
    if (circuit?.openedMs === undefined) return next()
    const nowMs = clock.now()
    const waitMs = waitAt(circuit, nowMs)
    if (waitMs > 0) return refuse(waitMs)
    circuit.triedMs = nowMs
    return andThen(next(), decision => {
      // A message refused by a limit has tried nothing.
      if (!decision.allowed) circuit.triedMs = undefined
      return decision
    })
  }
  const observe = (message: Message, ok: boolean): void => {
    const nowMs = clock.now()
    const key = keyFor(message)
    const circuit = state.value.get(key) ?? make(key, nowMs)
    // Moves the key to the end of the eviction order.
    state.value.delete(key)
    state.value.set(key, circuit)
    if (circuit.openedMs !== undefined) {
      // Messages that passed before it opened give no new information.
      if (circuit.triedMs === undefined) return
      circuit.triedMs = circuit.openedMs = undefined
      circuit.done = circuit.failed = 0
      circuit.windowMs = nowMs
      if (!ok) open(key, circuit, nowMs)
      return
    }
    if (nowMs >= circuit.windowMs + windowMs) {
      circuit.windowMs = nowMs
      circuit.done = circuit.failed = 0
    }
    if (ok) circuit.done++
    else circuit.failed++
    const total = circuit.done + circuit.failed
    if (total > least && circuit.failed > failures * total) open(key, circuit, nowMs)
  }
  const openKeys = (): number => {
    let count = 0
    for (const { openedMs } of state.value.values()) if (openedMs !== undefined) count++
    return count
  }
  const meta: HandlerFeedbackMeta = {
    kind: 'handler',
    name,
    enabled: true,
    priority: 0,
    outcome: exceeded,
    state,
    observe: (message, { ok }) => observe(message, ok),
    refusal(message) {
      const waitMs = waitAt(state.value.get(keyFor(message)), clock.now())
      return waitMs > 0 ? refuse(waitMs) : undefined
    },
    describe(message) {
      const key = keyFor(message)
      const circuit = state.value.get(key)
      const circuitState = stateAt(circuit, clock.now())
      const verdict = waitAt(circuit, clock.now()) === 0 ? 'passes' : `is answered ${exceeded}`
      return `${verdict}: ${circuitState} for ${JSON.stringify(key)}, ${circuit?.failed ?? 0} of ${(circuit?.done ?? 0) + (circuit?.failed ?? 0)} failed`
    },
    openKeys,
    attach(given) {
      host = given
      clock = options.clock ?? given.clock
    },
    applyOpened(key, untilMs) {
      const circuit = state.value.get(key) ?? make(key, clock.now())
      if (circuit.openedMs !== undefined && circuit.openedMs + openMs >= untilMs) return
      circuit.openedMs = untilMs - openMs
      circuit.triedMs = undefined
    },
  }
  return {
    guard: Object.assign(guard, { [MIDDLEWARE_META]: meta }),
    observe,
    stateOf: message => stateAt(state.value.get(keyFor(message)), clock.now()),
    stats: () => ({ keys: state.value.size, open: openKeys() }),
  }
}

function topicOf({ topic }: Message): string {
  return topic
}
