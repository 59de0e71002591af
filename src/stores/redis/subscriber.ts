import { BackOff } from '../../core/back-off.ts'
import { systemClock } from '../../core/clock.ts'
import type { SharedEntriesWatch } from '../shared-entries.ts'
import type { ChannelSubscription, RedisClient } from './redis-client-types.ts'

/**
 * Keeps a subscription on a channel, reopened whenever it is lost, until it is closed. Calls `changed` for each
 * message, and when the subscription becomes live or is lost.
 */
export function keepSubscribed(
  client: RedisClient,
  channel: string,
  changed: () => void,
): SharedEntriesWatch {
  let subscription: ChannelSubscription | undefined
  let isLive = false
  let isClosed = false
  const backOff = new BackOff({ fromMs: 50, toMs: 2_000 })
  let cancel = (): void => {}

  const open = (): void => {
    // Each subscription has its own state, because an abandoned one may still emit events.
    const ownState = { isLost: false }
    const onEnded = (): void => {
      if (ownState.isLost || isClosed) return
      ownState.isLost = true
      const wasLive = isLive
      isLive = false
      cancel = systemClock.after(backOff.nextMs(), open)
      if (wasLive) changed()
    }
    const onLive = (): void => {
      if (ownState.isLost || isClosed) return
      isLive = true
      backOff.reset()
      changed()
    }
    const onMessage = (): void => {
      if (isLive && !ownState.isLost && !isClosed) changed()
    }
    try {
      subscription = client.listen?.(channel, { onLive, onMessage, onEnded })
    } catch {
      onEnded()
    }
  }
  open()
  return {
    isLive: () => isLive,
    close() {
      isClosed = true
      isLive = false
      cancel()
      subscription?.close()
    },
  }
}
