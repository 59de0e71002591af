import { isIPv4, isIPv6 } from 'node:net'
import { canonicalIp } from '../conditions/cidr.ts'

/** Prefix of an IPv6 network where the scope names an IPv4 one: what one customer commonly gets. */
const V6_CUSTOMER_BITS = 64

/**
 * The network of an address, as `10.1.2.0/24`: what `per: ip/24` counts by. A prefix of up to 32 bits is meant for
 * IPv4, and IPv6 addresses then count by /64. What is no address comes back as it is.
 */
export function networkOf(ip: string, bits: number): string {
  const address = canonicalIp(ip)
  if (isIPv4(address)) {
    const kept = Math.min(bits, 32)
    return `${maskParts(address.split('.').map(Number), 8, kept).join('.')}/${kept}`
  }
  if (!isIPv6(address)) return ip
  const kept = bits > 32 ? bits : V6_CUSTOMER_BITS
  const groups = maskParts(groupsOf(address), 16, kept).map(group => group.toString(16))
  return `${canonicalIp(groups.join(':'))}/${kept}`
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
