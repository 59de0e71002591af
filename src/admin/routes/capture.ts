import { parseDuration } from '../../core/units.ts'
import { AdminProblem } from '../problem.ts'
import { defineRoute, type Route } from '../route.ts'
import { captureBodySchema } from '../schemas/capture.ts'
import { MessageCapture } from '../state/message-capture.ts'
import { textStream } from '../text-stream.ts'

const LONGEST_MS = 3_600_000

const capture = defineRoute({
  method: 'POST',
  path: '/capture',
  role: 'operator',
  summary: 'Messages as they are decided, without payloads, one JSON object a line, for topicgate replay',
  body: captureBodySchema,
  answers: { 200: { description: 'A stream that ends by itself.', type: 'application/jsonl' } },
  async handle({ body }, { state, caller, ip, signal, isAuthorized }) {
    const { max, client, topic, senders, reason } = body
    const forMs = parseDuration(body.for)
    if (forMs > LONGEST_MS) throw new AdminProblem(422, 'a capture takes at most 1h')
    if (state.capture !== undefined) throw new AdminProblem(409, 'a capture is running already')
    const options = { forMs, max, client, topic, hashSenders: senders === 'hashes' }
    const running = state.broker?.capture?.(options) ?? new MessageCapture(state.gate, options)
    state.capture = running
    const end = (): void => {
      running.end()
      if (state.capture === running) state.capture = undefined
    }
    signal.addEventListener('abort', end, { once: true })
    const [atMs, by] = [state.gate.clock.now(), caller.name]
    const note = { for: body.for, max, client, topic, senders }
    state.audit.record({ kind: 'capture', action: 'started', id: 'messages', atMs, by, ip, reason, note })
    await state.audit.written()
    if (signal.aborted) end()
    const next = async (): Promise<string | undefined> => {
      const text = await running.next()
      const isOver = text === undefined || !isAuthorized()
      if (isOver) end()
      return isOver ? undefined : text
    }
    return new Response(textStream(next, end), {
      headers: { 'content-type': 'application/jsonl', 'cache-control': 'no-store' },
    })
  },
})

export const CAPTURE_ROUTES: readonly Route[] = [capture]
