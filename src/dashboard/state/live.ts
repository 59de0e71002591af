import { batch, effect, signal } from '@preact/signals'
import { EventParser, type ServerSentEvent } from '../api/event-parser.ts'
import { RequestError, send } from '../api/request.ts'
import type { LiveEvent, Tick } from '../api/types.ts'
import { isActive } from './activity.ts'
import { addRefusal, type RefusalRow } from './refusal-rows.ts'
import { isSignedIn } from './session.ts'

const RECONNECT_MS = 2_000
const TICKS_KEPT = 900

/** Connection of the event stream. */
export const connection = signal<'connecting' | 'live' | 'off' | 'lost'>('connecting')
/** Ticks of the last 15 minutes, one a second, the oldest first. */
export const ticks = signal<readonly Tick[]>([])
/** Latest refusals, equal ones as one row, the newest first. */
export const refusals = signal<readonly RefusalRow[]>([])
/** Grows with each change that other resources show: entries, policy, store, alerts. */
export const changeCount = signal(0)

let lastEventId = ''

/** Follows events while somebody is signed in and the page is active. Only one stream is open at a time. */
export function followEvents(): void {
  effect(() => {
    if (!isSignedIn.value || !isActive.value) {
      connection.value = 'off'
      return
    }
    const stop = new AbortController()
    void readUntil(stop.signal)
    return () => stop.abort()
  })
}

async function readUntil(signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    connection.value = connection.peek() === 'lost' ? 'lost' : 'connecting'
    try {
      await readStream(signal)
    } catch (error) {
      if (error instanceof RequestError && error.status === 401) return
    }
    if (signal.aborted) return
    connection.value = 'lost'
    await new Promise(resolve => setTimeout(resolve, RECONNECT_MS))
  }
}

async function readStream(signal: AbortSignal): Promise<void> {
  const headers: Record<string, string> = lastEventId === '' ? {} : { 'last-event-id': lastEventId }
  const { body } = await send('GET', 'events', { headers, signal })
  if (body === null) return
  const parser = new EventParser()
  connection.value = 'live'
  for await (const text of body.pipeThrough(new TextDecoderStream())) {
    const events = parser.push(text)
    batch(() => events.forEach(applyEvent))
  }
}

function applyEvent({ id, type, data }: ServerSentEvent): void {
  if (id !== '') lastEventId = id
  const event = { type, data: JSON.parse(data) } as LiveEvent
  switch (event.type) {
    case 'tick':
      ticks.value = [...ticks.value, event.data].slice(-TICKS_KEPT)
      break
    case 'refusal':
      refusals.value = addRefusal(refusals.value, event.data)
      break
    default:
      changeCount.value++
  }
}
