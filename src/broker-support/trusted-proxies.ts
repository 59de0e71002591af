import { isIP } from 'node:net'
import { canonicalIp, compileAddresses } from '../conditions/cidr.ts'

/** Returns true if an address is a trusted proxy. */
export type TrustProxy = (ip: string) => boolean

/** Maximum entries of X-Forwarded-For that are read, from the right. */
const MAX_HOPS = 32

/** Maximum header length; a longer header is ignored. */
const MAX_CHARS = 4_096

/**
 * Trusts the proxies at these addresses and CIDR blocks (v4 and v6): `trustProxies(['127.0.0.1', '10.0.0.0/8'])`.
 * Throws PolicyError for any other text.
 */
export function trustProxies(addresses: readonly string[]): TrustProxy {
  return compileAddresses(addresses, 'trustProxies')
}

/**
 * Returns the address a request came from. Reads X-Forwarded-For from the right, as each proxy appends the address it
 * saw, and stops at the first address that is not a trusted proxy. Entries left of it can be forged. Never throws.
 */
export function findForwardedIp(
  remoteIp: string | undefined,
  header: string | readonly string[] | undefined,
  trust: TrustProxy,
): string | undefined {
  if (remoteIp === undefined) return undefined
  let ip = canonicalIp(remoteIp)
  const text = Array.isArray(header) ? header.join(',') : header
  if (typeof text !== 'string' || text.length > MAX_CHARS) return ip
  const hops = text.split(',')
  for (let i = hops.length - 1, seen = 0; i >= 0 && seen < MAX_HOPS && trust(ip); i--, seen++) {
    const hop = readHop(hops[i]!)
    if (hop === undefined) return ip
    ip = hop
  }
  return ip
}

/** Reads `1.2.3.4`, `1.2.3.4:567`, `::1`, `[::1]` or `[::1]:567`. */
function readHop(text: string): string | undefined {
  const hop = text.trim()
  const bracketed = /^\[([^\]]{1,64})\](?::\d{1,5})?$/.exec(hop)?.[1]
  const bare = bracketed ?? (/^[\d.]{7,15}:\d{1,5}$/.test(hop) ? hop.slice(0, hop.indexOf(':')) : hop)
  return isIP(bare) === 0 ? undefined : canonicalIp(bare)
}
