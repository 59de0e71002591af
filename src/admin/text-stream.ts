import { systemClock } from '../core/clock.ts'

export interface TextStreamOptions {
  /** Text to begin with. */
  readonly first?: string | undefined
  /** Pause after each text. Why: every text is a write to the socket, and those that come meanwhile share the next one. */
  readonly pauseMs?: number | undefined
}

/** Returns a stream of texts that reads no further than its reader does. `next` returns undefined at the end. */
export function textStream(
  next: () => Promise<string | undefined>,
  cancel: () => void,
  { first, pauseMs = 0 }: TextStreamOptions = {},
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  let hasSent = false
  return new ReadableStream<Uint8Array>(
    {
      start: controller => {
        if (first !== undefined) controller.enqueue(encoder.encode(first))
      },
      async pull(controller) {
        if (hasSent && pauseMs > 0)
          await new Promise<void>(resolve => void systemClock.after(pauseMs, resolve))
        const text = await next()
        hasSent = true
        if (text === undefined) controller.close()
        else controller.enqueue(encoder.encode(text))
      },
      cancel,
    },
    { highWaterMark: 0 },
  )
}
