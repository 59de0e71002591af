import { isIPv4, isIPv6 } from 'node:net'
import { canonicalIp } from './cidr.ts'

/** Prefix of the IPv6 network usually assigned to one customer, who can use all of its addresses. */
export const V6_CUSTOMER_BITS = 64

/**
 * Returns the key of `per: ip`: an IPv4 address itself, an IPv6 address by its /64 network. Returns text that
 * is not an address unchanged.
 */
export function addressKey(ip: string): string {
  const address = canonicalIp(ip)
  return isIPv6(address) ? networkOf(address, 32, V6_CUSTOMER_BITS) : address
}

/**
 * Returns the network of an address, such as `10.1.2.0/24`, for `per: ip/24` and `per: ip/24/56` (the
 * prefixes of IPv4 and IPv6). Returns text that is not an address unchanged.
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

/** Returns the family of an address; undefined if it is not one. IPv4 in IPv6 counts as IPv4. */
export function familyOf(ip: string): 4 | 6 | undefined {
  const address = canonicalIp(ip)
  return isIPv4(address) ? 4 : isIPv6(address) ? 6 : undefined
}

/** Returns the network of an address with the given number of bits of its own family: `fd00::/8`. */
export function blockOfAddress(ip: string, bits: number): string {
  const address = canonicalIp(ip)
  if (isIPv4(address)) return `${maskParts(address.split('.').map(Number), 8, bits).join('.')}/${bits}`
  const groups = maskParts(groupsOf(address), 16, bits).map(group => group.toString(16))
  return `${canonicalIp(groups.join(':'))}/${bits}`
}

/** Returns the canonical text of a valid CIDR block or address: `10.0.0.0/8` for `10.1.2.3/8`. */
export function canonicalBlock(text: string): string {
  const [ip = '', prefix] = text.trim().split('/')
  const isV4 = familyOf(ip) === 4
  const width = isV4 ? 32 : 128
  const skipped = isV4 && ip.includes(':') ? 96 : 0
  return blockOfAddress(ip, prefix === undefined ? width : Number(prefix) - skipped)
}

/** Returns the eight groups of an IPv6 address. */
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
