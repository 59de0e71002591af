/** Returns a stream of texts that reads no further than its reader does. `next` returns undefined at the end. */
export function textStream(
  next: () => Promise<string | undefined>,
  cancel: () => void,
  first?: string,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  return new ReadableStream<Uint8Array>(
    {
      start: controller => {
        if (first !== undefined) controller.enqueue(encoder.encode(first))
      },
      async pull(controller) {
        const text = await next()
        if (text === undefined) controller.close()
        else controller.enqueue(encoder.encode(text))
      },
      cancel,
    },
    { highWaterMark: 0 },
  )
}
