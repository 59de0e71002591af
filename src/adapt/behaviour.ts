import { BOUNDS } from '../bounds.ts'
import { compileCost } from '../chain/cost.ts'
import { limit } from '../chain/limit.ts'
import type { Middleware } from '../chain/middleware.ts'
import type { LimitOptions } from '../chain/options.ts'
import { type Clock, systemClock } from '../clock.ts'
import type { Decision } from '../decision.ts'
import type { Message, Sender } from '../message.ts'
import { parseRate } from '../units.ts'

export interface BehaviourOptions {
  /** How senders are told apart. Default: by user, else API key, else client. */
  readonly senderOf?: (sender: Sender) => string | undefined
  readonly clock?: Clock
}

/** How a sender has behaved in the last full hour, or already in the one that runs. */
export type Conduct = 'good' | 'usual' | 'abusive'

/** Factors by behaviour. */
export const BEHAVIOUR_FACTORS: Readonly<Record<Conduct, number>> = { good: 1.2, usual: 1, abusive: 0.3 }

/** Counts what senders do, and gives them more or less room for it. */
export interface Behaviour {
  /** To be told of each decision: `gate.on('decision', behaviour.note)`. */
  readonly note: (decision: Decision, message: Message) => void
  /** A limit that gives each sender its factor: what its messages cost is divided by it. Throws PolicyError. */
  limit(options: LimitOptions): Middleware
  conductOf(sender: Sender): Conduct
  /** Senders known. */
  readonly size: number
}

interface Count {
  hour: number
  asked: number
  refused: number
  /** What the hour before amounted to. */
  before: Conduct
}

const HOUR_MS = 3_600_000
const GOOD_LEAST = 10
const GOOD_MOST = 1_000
const GOOD_REFUSED = 0.05
const ABUSIVE_MOST = 10_000
const ABUSIVE_REFUSED = 0.5

/**
 * Behaviour of senders by the hour: good ones (10 to 1000 messages, under 5 % of them refused) have 1.2 times the
 * room of a limit, abusive ones (over 50 % of at least 10 refused, or over 10,000 messages) 0.3 of it. Abuse counts at
 * once, good conduct from the next hour on. The senders unseen for the longest are forgotten.
 */
export function behaviour(options: BehaviourOptions = {}): Behaviour {
  const { senderOf = idOf, clock = systemClock } = options
  const counts = new Map<string, Count>()

  const keyOf = (sender: Sender): string => {
    try {
      return String(senderOf(sender) ?? '').slice(0, BOUNDS.keyPartChars)
    } catch {
      return ''
    }
  }
  const turn = (count: Count, hour: number): void => {
    if (count.hour === hour) return
    count.before = hour === count.hour + 1 ? judge(count) : 'usual'
    count.hour = hour
    count.asked = count.refused = 0
  }
  const conductOf = (sender: Sender): Conduct => {
    const count = counts.get(keyOf(sender))
    if (count === undefined) return 'usual'
    turn(count, hourOf(clock))
    return judge(count) === 'abusive' ? 'abusive' : count.before
  }
  return {
    note({ allowed }, { sender }) {
      const key = keyOf(sender)
      const hour = hourOf(clock)
      let count = counts.get(key)
      if (count === undefined) {
        if (counts.size >= BOUNDS.watchedSenders) counts.delete(counts.keys().next().value!)
        count = { hour, asked: 0, refused: 0, before: 'usual' }
      } else {
        turn(count, hour)
        // Used last, forgotten last; moved only now and then, as the order need not be exact.
        if (count.asked % MOVE_EVERY === 0) counts.delete(key)
      }
      if (count.asked % MOVE_EVERY === 0) counts.set(key, count)
      count.asked++
      if (!allowed) count.refused++
    },
    limit(given) {
      const rate = parseRate(given.rate)
      const meter = compileCost(given.cost ?? (rate.bytes ? 'bytes' : undefined), given.dialect)
      // However it behaves, a message that fits a whole limit still fits it.
      const most = given.burst ?? rate.burst ?? rate.count
      const cost = (message: Message): number => {
        const units = meter.unitsOf(message)
        const factor = BEHAVIOUR_FACTORS[conductOf(message.sender)]
        return units > most ? units : Math.min(most, Math.ceil((units * 1000) / factor) / 1000)
      }
      return limit({ ...given, cost })
    },
    conductOf,
    get size() {
      return counts.size
    },
  }
}

const MOVE_EVERY = 64

function hourOf(clock: Clock): number {
  return Math.floor(clock.now() / HOUR_MS)
}

function judge({ asked, refused }: Count): Conduct {
  if (asked > ABUSIVE_MOST) return 'abusive'
  if (asked < GOOD_LEAST) return 'usual'
  if (refused > ABUSIVE_REFUSED * asked) return 'abusive'
  return asked <= GOOD_MOST && refused < GOOD_REFUSED * asked ? 'good' : 'usual'
}

function idOf({ user, apiKey, client }: Sender): string {
  if (user !== undefined) return `user:${user}`
  return apiKey === undefined ? `client:${client ?? ''}` : `apiKey:${apiKey}`
}
