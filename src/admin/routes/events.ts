import { MAX_SIZES } from '../../core/max-sizes.ts'
import { AdminProblem } from '../problem.ts'
import { defineRoute, type Route } from '../route.ts'
import { eventsQuerySchema } from '../schemas/events.ts'
import { type EventType, eventText } from '../state/event-stream.ts'
import type { SentRefusal } from '../state/refusal-feed.ts'
import { textStream } from '../text-stream.ts'

/** Events of this time are sent together: at most five writes a second for each stream. */
const PAUSE_MS = 200

const events = defineRoute({
  method: 'GET',
  path: '/events',
  role: 'viewer',
  summary: 'Server-sent events: ticks, refusals, audit records, alerts, changes of policy and store',
  query: eventsQuerySchema,
  answers: { 200: { description: 'An endless stream.', type: 'text/event-stream' } },
  handle({ query }, { state, header, signal, isAuthorized }) {
    const { types, after, sender, rule, topic } = query
    if (state.events.readers >= MAX_SIZES.adminStreams) {
      const headers = { 'retry-after': '10' }
      throw new AdminProblem(429, `there are ${MAX_SIZES.adminStreams} event streams already`, { headers })
    }
    const lastEventId = header('last-event-id')
    const resumed = lastEventId === undefined || lastEventId === '' ? after : Number(lastEventId)
    if (resumed !== undefined && !Number.isSafeInteger(resumed))
      throw new AdminProblem(400, 'Last-Event-ID is not an id of an event')
    const isFiltered = sender !== undefined || rule !== undefined || topic !== undefined
    const isRead = (type: EventType): boolean => !(isFiltered && type === 'refusal')
    const reader = state.events.read(new Set(types.filter(isRead)), resumed)
    if (isFiltered && types.includes('refusal')) {
      const push = (refusal: SentRefusal): void => reader.push(eventText('refusal', refusal))
      reader.onClosed(state.refusalFeed.subscribe({ sender, rule, topic }, push))
    }
    signal.addEventListener('abort', () => reader.close(), { once: true })
    if (signal.aborted) reader.close()
    return new Response(
      textStream(
        async () => {
          const text = await reader.next()
          if (isAuthorized()) return text
          reader.close()
          return undefined
        },
        () => reader.close(),
        { first: 'retry: 2000\n\n', pauseMs: PAUSE_MS },
      ),
      {
        headers: {
          'content-type': 'text/event-stream',
          'cache-control': 'no-store',
          // Proxies such as nginx would collect events otherwise.
          'x-accel-buffering': 'no',
        },
      },
    )
  },
})

export const EVENT_ROUTES: readonly Route[] = [events]
