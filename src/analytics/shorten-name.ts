import { createHash } from 'node:crypto'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Sender } from '../core/message.ts'

/** A name as it is counted: longer ones are cut and end in a hash, so that they stay apart. */
export function shorten(name: string): string {
  if (name.length <= MAX_SIZES.insightNameChars) return name
  const hash = createHash('sha256').update(name, 'utf16le').digest('base64url').slice(0, 12)
  // By way of bytes: a part of a string keeps the whole of it in memory.
  return Buffer.from(`${name.slice(0, MAX_SIZES.insightNameChars - 13)}~${hash}`, 'utf16le').toString(
    'utf16le',
  )
}

/** What a sender is counted by: the first of its parts that names it. An api key is nobody's to read. */
export function nameOf({ client, device, user, ip, apiKey }: Sender): string {
  const name = client ?? device ?? user ?? ip
  if (typeof name === 'string') return name
  if (typeof apiKey !== 'string') return ''
  return `api-key:${createHash('sha256').update(apiKey).digest('base64url').slice(0, 12)}`
}
