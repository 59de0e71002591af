const LINE_END = '\r\n'
const HEADER_VERSION = 'NATS/1.0\r\n'
const LINE_END_BYTES = Buffer.from(LINE_END)

export const PING_LINE = Buffer.from('PING\r\n')
export const PONG_LINE = Buffer.from('PONG\r\n')
export const OK_LINE = Buffer.from('+OK\r\n')

/** Returns an error line. Clients treat texts that they do not know as fatal, so `text` is one of nats-server. */
export function encodeError(text: string): Buffer {
  return Buffer.from(`-ERR '${text}'${LINE_END}`)
}

/** Returns an UNSUB; `maximum` is the number of messages that the server may still deliver. */
export function encodeUnsubscribe(sid: string, maximum: number): Buffer {
  return Buffer.from(maximum > 0 ? `UNSUB ${sid} ${maximum}${LINE_END}` : `UNSUB ${sid}${LINE_END}`)
}

export interface PublishParts {
  readonly subject: string
  /** Empty if there is none. */
  readonly reply: string
  readonly payload: Uint8Array
  /** Headers of the original message, with version and final line; empty if it has none. */
  readonly headerBlock: Buffer
  /** Leaves out the `Nats-` headers, which are for the stream of the original subject. */
  readonly isRedirected: boolean
  readonly added: Readonly<Record<string, string>>
}

export function encodePublish(publish: PublishParts): Buffer {
  const { subject, reply, payload } = publish
  const headers = encodeHeaders(publish)
  const target = reply === '' ? subject : `${subject} ${reply}`
  const total = headers.length + payload.length
  const line =
    headers.length === 0
      ? `PUB ${target} ${total}${LINE_END}`
      : `HPUB ${target} ${headers.length} ${total}${LINE_END}`
  return Buffer.concat([Buffer.from(line), headers, payload, LINE_END_BYTES])
}

function encodeHeaders({ headerBlock, isRedirected, added }: PublishParts): Buffer {
  const [version = '', ...rest] = headerBlock.toString('latin1').split(LINE_END)
  // The block ends with an empty line.
  const kept = rest.filter(line => line !== '' && !(isRedirected && line.startsWith('Nats-')))
  const original = kept.map(line => Buffer.from(line + LINE_END, 'latin1'))
  const appended = Object.entries(added).map(([name, value]) => Buffer.from(`${name}: ${value}${LINE_END}`))
  if (original.length + appended.length === 0) return Buffer.alloc(0)
  const head = version === '' ? HEADER_VERSION : version + LINE_END
  return Buffer.concat([Buffer.from(head, 'latin1'), ...original, ...appended, LINE_END_BYTES])
}

/** Returns a MSG or, with headers, an HMSG. */
export function encodeDelivery(
  subject: string,
  sid: string,
  headers: Readonly<Record<string, string>> | undefined,
  payload: Uint8Array,
): Buffer {
  if (headers === undefined) {
    const line = Buffer.from(`MSG ${subject} ${sid} ${payload.length}${LINE_END}`)
    return Buffer.concat([line, payload, LINE_END_BYTES])
  }
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}${LINE_END}`)
  const block = Buffer.from(HEADER_VERSION + lines.join('') + LINE_END)
  const total = block.length + payload.length
  const line = Buffer.from(`HMSG ${subject} ${sid} ${block.length} ${total}${LINE_END}`)
  return Buffer.concat([line, block, payload, LINE_END_BYTES])
}
