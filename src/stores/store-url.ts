/** How the URL of a store begins; `memory` is a word of its own. */
export const STORE_SCHEMES = [
  'sqlite',
  'redis',
  'rediss',
  'redis+sentinel',
  'rediss+sentinel',
  'redis+cluster',
  'rediss+cluster',
  'nats',
] as const

/** What stands before the colon; all that is shown of a URL which may hold a password. At most 40 characters. */
export function schemeOf(url: string): string {
  return (url.split(':')[0] ?? '').slice(0, 40)
}
