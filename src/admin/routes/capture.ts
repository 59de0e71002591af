import { defineRoute, type Route } from '../route.ts'
import { captureBodySchema } from '../schemas/capture.ts'
import { startCapture } from '../start-capture.ts'
import { textStream } from '../text-stream.ts'

const capture = defineRoute({
  method: 'POST',
  path: '/capture',
  role: 'operator',
  summary: 'Messages as they are decided, without payloads, one JSON object a line, for topicgate replay',
  body: captureBodySchema,
  answers: { 200: { description: 'A stream that ends by itself.', type: 'application/jsonl' } },
  async handle({ body }, context) {
    const { senders, reason, ...rest } = body
    const note = { ...rest, senders }
    const running = await startCapture({ ...rest, hashSenders: senders === 'hashes', reason, note }, context)
    return new Response(
      textStream(
        () => running.next(),
        () => running.end(),
      ),
      { headers: { 'content-type': 'application/jsonl', 'cache-control': 'no-store' } },
    )
  },
})

export const CAPTURE_ROUTES: readonly Route[] = [capture]
