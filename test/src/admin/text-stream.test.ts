import { expect, it } from 'vitest'
import { textStream } from '../../../src/admin/text-stream.ts'

it('a stream of texts sends those that come during a pause together', async () => {
  const waiting = ['a']
  const asked: number[] = []
  const next = async (): Promise<string | undefined> => {
    asked.push(waiting.length)
    return waiting.length === 0 ? undefined : waiting.splice(0).join('')
  }
  const texts: string[] = []
  const stream = textStream(next, () => {}, { first: '-', pauseMs: 20 })
  for await (const bytes of stream) {
    const text = new TextDecoder().decode(bytes)
    texts.push(text)
    if (text === 'a') {
      // Both come while the stream pauses.
      setImmediate(() => waiting.push('b'))
      setImmediate(() => waiting.push('c'))
    }
  }
  expect(texts).toEqual(['-', 'a', 'bc'])
  expect(asked).toEqual([1, 2, 0])
})
