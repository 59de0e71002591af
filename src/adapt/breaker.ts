import { BOUNDS } from '../bounds.ts'
import type { Middleware } from '../chain/middleware.ts'
import { type Clock, systemClock } from '../clock.ts'
import type { Decision } from '../decision.ts'
import { policyError } from '../errors.ts'
import type { Message } from '../message.ts'

export interface BreakerOptions {
  /** What fails together: messages of equal keys. Default: the topic. */
  readonly keyOf?: (message: Message) => string
  /** It opens when more than this share fails. Default: 0.5. */
  readonly failures?: number
  /** Of more than this many in a window. Default: 10. */
  readonly least?: number
  /** Default: 10,000. */
  readonly windowMs?: number
  /** How long it stays open before one message tries. Default: 5,000. */
  readonly openMs?: number
  /** What becomes of messages while it is open. Default: retry. */
  readonly exceeded?: 'retry' | 'throttle' | 'drop' | 'reject'
  readonly clock?: Clock
}

export type CircuitState = 'closed' | 'open' | 'half-open'

/** Keeps messages from a handler that fails. */
export interface CircuitBreaker {
  /** To be told after each message that passed: whether its handler succeeded. */
  observe(message: Message, ok: boolean): void
  stateOf(message: Message): CircuitState
  /** Keys it knows, and how many of them are not closed. */
  stats(): { readonly keys: number; readonly open: number }
  /** `gate.use(breaker.guard)`. */
  readonly guard: Middleware
}

interface Circuit {
  windowMs: number
  done: number
  failed: number
  /** When it was opened; undefined while it is closed. */
  openedMs: number | undefined
  /** When a message was let through to try; undefined where none is out. */
  triedMs: number | undefined
}

/**
 * A circuit breaker for each key. It opens when more than half of more than ten messages of a window failed; after a
 * while one message at a time may try, and its success closes it. A try that is never answered for is given up after
 * `openMs`. The keys unseen for the longest are forgotten. Throws PolicyError.
 */
export function circuitBreaker(options: BreakerOptions = {}): CircuitBreaker {
  const { keyOf = topicOf, failures = 0.5, least = 10, windowMs = 10_000, openMs = 5_000 } = options
  const { exceeded = 'retry', clock = systemClock } = options
  for (const [path, value] of Object.entries({ windowMs, openMs })) {
    if (!(value >= 1)) throw policyError(path, `${value} is no duration`, 'use milliseconds, at least 1')
  }
  if (!(failures > 0 && failures < 1)) throw policyError('failures', `${failures} is no share`, 'use 0.5')
  if (!(least >= 1)) throw policyError('least', `${least} cannot be counted`, 'use 10')
  const circuits = new Map<string, Circuit>()

  const seek = (message: Message): { readonly key: string; readonly circuit: Circuit | undefined } => {
    let key = ''
    try {
      key = String(keyOf(message)).slice(0, BOUNDS.keyPartChars)
    } catch {
      // A key that cannot be made is the empty one: all such messages fail together.
    }
    return { key, circuit: circuits.get(key) }
  }
  const stateAt = (circuit: Circuit | undefined, nowMs: number): CircuitState => {
    if (circuit?.openedMs === undefined) return 'closed'
    return nowMs >= circuit.openedMs + openMs ? 'half-open' : 'open'
  }
  const make = (key: string, nowMs: number): Circuit => {
    if (circuits.size >= BOUNDS.breakerKeys) circuits.delete(circuits.keys().next().value!)
    const made = { windowMs: nowMs, done: 0, failed: 0, openedMs: undefined, triedMs: undefined }
    circuits.set(key, made)
    return made
  }
  const refuse = (retryAfterMs: number): Decision => ({
    allowed: false,
    outcome: exceeded,
    reason: 'rate_limit_exceeded',
    retryAfterMs: Math.max(1, Math.ceil(retryAfterMs)),
  })
  return {
    guard(message, next) {
      const { circuit } = seek(message)
      if (circuit?.openedMs === undefined) return next()
      const nowMs = clock.now()
      if (stateAt(circuit, nowMs) === 'open') return refuse(circuit.openedMs + openMs - nowMs)
      if (circuit.triedMs !== undefined && nowMs < circuit.triedMs + openMs) {
        return refuse(circuit.triedMs + openMs - nowMs)
      }
      circuit.triedMs = nowMs
      return next()
    },
    observe(message, ok) {
      const nowMs = clock.now()
      const { key, circuit = make(key, nowMs) } = seek(message)
      // Used last, forgotten last.
      circuits.delete(key)
      circuits.set(key, circuit)
      if (circuit.openedMs !== undefined) {
        // Those that passed before it opened say nothing new.
        if (circuit.triedMs === undefined) return
        circuit.triedMs = undefined
        circuit.openedMs = ok ? undefined : nowMs
        circuit.done = circuit.failed = 0
        circuit.windowMs = nowMs
        return
      }
      if (nowMs >= circuit.windowMs + windowMs) {
        circuit.windowMs = nowMs
        circuit.done = circuit.failed = 0
      }
      if (ok) circuit.done++
      else circuit.failed++
      const total = circuit.done + circuit.failed
      if (total > least && circuit.failed > failures * total) circuit.openedMs = nowMs
    },
    stateOf: message => stateAt(seek(message).circuit, clock.now()),
    stats() {
      const open = [...circuits.values()].filter(({ openedMs }) => openedMs !== undefined).length
      return { keys: circuits.size, open }
    },
  }
}

function topicOf({ topic }: Message): string {
  return topic
}
