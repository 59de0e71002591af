import { createHash } from 'node:crypto'
import { MAX_SIZES } from '../core/max-sizes.ts'
import type { Sender } from '../core/message.ts'

/** Shortens a name for counting: a long one is cut and ends in a hash, so that different names stay different. */
export function shortenName(name: string): string {
  if (name.length <= MAX_SIZES.analyticsNameChars) return name
  const hash = createHash('sha256').update(name, 'utf16le').digest('base64url').slice(0, 12)
  // Converted through bytes, because a substring keeps the whole string in memory.
  return Buffer.from(`${name.slice(0, MAX_SIZES.analyticsNameChars - 13)}~${hash}`, 'utf16le').toString(
    'utf16le',
  )
}

/** Returns the name a sender is counted by: its first identifying field. Never an API key in clear text. */
export function analyticsName({ client, device, user, ip, apiKey }: Sender): string {
  const name = client ?? device ?? user ?? ip
  if (typeof name === 'string') return name
  if (typeof apiKey !== 'string') return ''
  return `api-key:${createHash('sha256').update(apiKey).digest('base64url').slice(0, 12)}`
}
