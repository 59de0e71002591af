import { isIPv4, isIPv6 } from 'node:net'
import { canonicalIp } from './cidr.ts'

/** Prefix of the IPv6 network that one customer commonly gets: whoever has one address there has all of them. */
export const V6_CUSTOMER_BITS = 64

/**
 * Returns what `per: ip` counts by: an IPv4 address itself, an IPv6 address by its /64 network. Text that is no
 * address comes back as it is.
 */
export function addressKey(ip: string): string {
  const address = canonicalIp(ip)
  return isIPv6(address) ? networkOf(address, 32, V6_CUSTOMER_BITS) : address
}

/**
 * Returns the network of an address, as `10.1.2.0/24`: what `per: ip/24` and `per: ip/24/56` count by, the prefixes of
 * IPv4 and IPv6. Text that is no address comes back as it is.
 */
export function networkOf(ip: string, v4Bits: number, v6Bits: number): string {
  const address = canonicalIp(ip)
  if (isIPv4(address)) {
    return `${maskParts(address.split('.').map(Number), 8, v4Bits).join('.')}/${v4Bits}`
  }
  if (!isIPv6(address)) return ip
  const groups = maskParts(groupsOf(address), 16, v6Bits).map(group => group.toString(16))
  return `${canonicalIp(groups.join(':'))}/${v6Bits}`
}

/** The family of an address; undefined where it is none. IPv4 within IPv6 counts as IPv4. */
export function familyOf(ip: string): 4 | 6 | undefined {
  const address = canonicalIp(ip)
  return isIPv4(address) ? 4 : isIPv6(address) ? 6 : undefined
}

/** The network of so many bits that holds an address, by the bits of its own family: `fd00::/8`. */
export function blockOfAddress(ip: string, bits: number): string {
  const address = canonicalIp(ip)
  if (isIPv4(address)) return `${maskParts(address.split('.').map(Number), 8, bits).join('.')}/${bits}`
  const groups = maskParts(groupsOf(address), 16, bits).map(group => group.toString(16))
  return `${canonicalIp(groups.join(':'))}/${bits}`
}

/** One text per block, of a CIDR block or an address that was found sound: `10.1.2.3/8` is `10.0.0.0/8`. */
export function blockOf(text: string): string {
  const [ip = '', prefix] = text.trim().split('/')
  const isV4 = familyOf(ip) === 4
  const width = isV4 ? 32 : 128
  const skipped = isV4 && ip.includes(':') ? 96 : 0
  return blockOfAddress(ip, prefix === undefined ? width : Number(prefix) - skipped)
}

/** The eight groups of an IPv6 address. */
function groupsOf(address: string): number[] {
  const [head = '', tail] = address.split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const zeros = tail === undefined ? 0 : 8 - left.length - right.length
  return [...left, ...Array<string>(zeros).fill('0'), ...right].map(group => Number.parseInt(group, 16))
}

function maskParts(parts: readonly number[], width: number, bits: number): number[] {
  return parts.map((part, index) => {
    const kept = Math.min(width, Math.max(0, bits - index * width))
    return part & (((1 << kept) - 1) << (width - kept))
  })
}
