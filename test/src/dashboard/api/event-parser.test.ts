import { expect, it } from 'vitest'
import { EventParser } from '../../../../src/dashboard/api/event-parser.ts'

it('returns an event once its chunk completes it, wherever the stream is cut', () => {
  const text =
    'retry: 2000\n\nid: 7\nevent: tick\ndata: {"allowed":1}\n\n: keep-alive\n\nevent: lost\ndata: {}\n\n'
  for (let cut = 0; cut <= text.length; cut++) {
    const parser = new EventParser()
    expect([...parser.push(text.slice(0, cut)), ...parser.push(text.slice(cut))]).toEqual([
      { id: '7', type: 'tick', data: '{"allowed":1}' },
      { id: '', type: 'lost', data: '{}' },
    ])
  }
})

it('joins lines of data, and keeps colons in them', () => {
  expect(new EventParser().push('data: a: b\ndata:c\n\n')).toEqual([
    { id: '', type: 'message', data: 'a: b\nc' },
  ])
})
