import { isIP } from 'node:net'
import { canonicalIp, compileAddresses } from '../../src/conditions/cidr.ts'

/** Says whether an address is a proxy whose word about the sender's address counts. */
export type TrustProxy = (ip: string) => boolean

/** Entries of X-Forwarded-For that are looked at, from the right. */
const MOST_HOPS = 32

/** The longest header that is looked at; a longer one counts as none. */
const MOST_CHARS = 4_096

/**
 * Trusts the proxies at these addresses and CIDR blocks (v4 and v6): `trustProxies(['127.0.0.1', '10.0.0.0/8'])`.
 * Throws PolicyError for what is neither.
 */
export function trustProxies(addresses: readonly string[]): TrustProxy {
  return compileAddresses(addresses, 'trustProxies')
}

/**
 * The address a request came from: walks X-Forwarded-For from the right, as each proxy appends the address it saw,
 * and stops at the first that is no trusted proxy. Whatever stands left of that, anyone may have written. Never throws.
 */
export function walkForwarded(
  remoteIp: string | undefined,
  header: string | readonly string[] | undefined,
  trust: TrustProxy,
): string | undefined {
  if (remoteIp === undefined) return undefined
  let ip = canonicalIp(remoteIp)
  const text = Array.isArray(header) ? header.join(',') : header
  if (typeof text !== 'string' || text.length > MOST_CHARS) return ip
  const hops = text.split(',')
  for (let i = hops.length - 1, seen = 0; i >= 0 && seen < MOST_HOPS && trust(ip); i--, seen++) {
    const hop = readHop(hops[i]!)
    if (hop === undefined) return ip
    ip = hop
  }
  return ip
}

/** `1.2.3.4`, `1.2.3.4:567`, `::1`, `[::1]` or `[::1]:567`. */
function readHop(text: string): string | undefined {
  const hop = text.trim()
  const bracketed = /^\[([^\]]{1,64})\](?::\d{1,5})?$/.exec(hop)?.[1]
  const bare = bracketed ?? (/^[\d.]{7,15}:\d{1,5}$/.test(hop) ? hop.slice(0, hop.indexOf(':')) : hop)
  return isIP(bare) === 0 ? undefined : canonicalIp(bare)
}
