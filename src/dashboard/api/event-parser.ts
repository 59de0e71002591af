/** One server-sent event. */
export interface ServerSentEvent {
  /** Empty if the event has none. */
  readonly id: string
  readonly type: string
  readonly data: string
}

/** Parses server-sent events from a stream of text. Why: EventSource cannot send a token. */
export class EventParser {
  #rest = ''

  /** Returns the events that this chunk completes. */
  push(chunk: string): readonly ServerSentEvent[] {
    const frames = (this.#rest + chunk).split('\n\n')
    this.#rest = frames.pop() ?? ''
    return frames.flatMap(parseFrame)
  }
}

function parseFrame(frame: string): readonly ServerSentEvent[] {
  let [id, type] = ['', 'message']
  const data: string[] = []
  for (const line of frame.split('\n')) {
    const [, name, value = ''] = /^([^:]*)(?:: ?(.*))?$/.exec(line) ?? []
    if (name === 'id') id = value
    else if (name === 'event') type = value
    else if (name === 'data') data.push(value)
  }
  return data.length === 0 ? [] : [{ id, type, data: data.join('\n') }]
}
