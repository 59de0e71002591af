/** URL schemes of stores; `memory` is written without a scheme. */
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

/**
 * Returns the scheme of a URL, at most 40 characters. Errors show only the scheme, because a URL may hold a password.
 */
export function schemeOf(url: string): string {
  return (url.split(':')[0] ?? '').slice(0, 40)
}
