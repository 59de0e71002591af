import { systemClock } from '../../core/clock.ts'
import type { SharedEntriesWatch } from '../shared-entries.ts'
import type { RedisClient, Subscription } from './client.ts'

const FIRST_PAUSE_MS = 50
const LONGEST_PAUSE_MS = 2_000

/**
 * Keeps a subscription on a channel, reopened whenever it is lost, until it is closed. Calls `changed` for each
 * message, and when the subscription becomes live or is lost.
 */
export function keepSubscribed(
  client: RedisClient,
  channel: string,
  changed: () => void,
): SharedEntriesWatch {
  let ear: Subscription | undefined
  let isLive = false
  let isOver = false
  let pauseMs = FIRST_PAUSE_MS
  let cancel = (): void => {}

  const open = (): void => {
    // Each subscription has its own state, because an abandoned one may still emit events.
    const mine = { isLost: false }
    const ended = (): void => {
      if (mine.isLost || isOver) return
      mine.isLost = true
      const wasLive = isLive
      isLive = false
      cancel = systemClock.after(pauseMs, open)
      pauseMs = Math.min(2 * pauseMs, LONGEST_PAUSE_MS)
      if (wasLive) changed()
    }
    const live = (): void => {
      if (mine.isLost || isOver) return
      isLive = true
      pauseMs = FIRST_PAUSE_MS
      changed()
    }
    const heard = (): void => {
      if (isLive && !mine.isLost && !isOver) changed()
    }
    try {
      ear = client.listen?.(channel, { live, heard, ended })
    } catch {
      ended()
    }
  }
  open()
  return {
    isLive: () => isLive,
    close() {
      isOver = true
      isLive = false
      cancel()
      ear?.close()
    },
  }
}
