import { BlockList, isIP, SocketAddress } from 'node:net'
import { PolicyError, type Problem } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { TwoGenerationCache } from '../core/two-generation-cache.ts'
import { quote } from './parse-helpers.ts'

/** Maximum length of an address with its zone. */
const MOST_CHARS = 100
/** Number of bits before an IPv4 address in IPv6 (`::ffff:0:0/96`). */
const MAPPED_BITS = 96

const REMEDY = 'write an address or a block, as 10.0.0.7, 10.0.0.0/8, fd00::/8'

/**
 * Compiles addresses and CIDR blocks, v4 and v6, into a matcher. IPv4 in IPv6 (`::ffff:10.0.0.1`) counts as
 * IPv4 on both sides, so `::/0` contains no IPv4. Zone ids are ignored. Text that is not an address matches
 * nothing. The matcher never throws and takes about a microsecond; cache its result per connection. Throws
 * one PolicyError with all problems.
 */
export function compileAddresses(list: readonly string[], path: string): (ip: string) => boolean {
  const problems: Problem[] = []
  // Two lists, because in a single one v6 blocks such as ::/0 would match v4 addresses.
  const v4 = new BlockList()
  const v6 = new BlockList()
  if (Array.isArray(list)) {
    for (const [index, entry] of list.entries()) addEntry(entry, v4, v6, `${path}[${index}]`, problems)
  } else {
    problems.push({ path, message: `${quote(list)} is not a list of addresses`, remedy: REMEDY })
  }
  if (problems.length > 0) throw new PolicyError(problems)
  return ip => {
    const address = parseAddress(ip)
    if (!address) return false
    return address.family === 'ipv4' ? v4.check(address) : v6.check(address)
  }
}

/**
 * Returns one text per address, because limits count by it: IPv4 in IPv6 as IPv4, others in lower case,
 * without zone, compressed as in RFC 5952. Returns text that is not an address unchanged. Never throws.
 */
export function canonicalIp(ip: string): string {
  // IPv4 has a single spelling, and the parser below takes two microseconds.
  if (typeof ip === 'string' && ip.length <= MOST_CHARS && isIP(ip) === 4) return ip
  return parseAddress(ip)?.address ?? ip
}

function addEntry(entry: unknown, v4: BlockList, v6: BlockList, path: string, problems: Problem[]): void {
  const text = typeof entry === 'string' ? entry.trim() : ''
  const [ip = '', prefix, ...rest] = text.split('/')
  const address = parseAddress(ip)
  if (!address || rest.length > 0) {
    problems.push({ path, message: `${quote(entry)} is not an address or a CIDR block`, remedy: REMEDY })
    return
  }
  const isV4 = address.family === 'ipv4'
  const writtenBits = isIP(ip) === 4 ? 32 : 128
  const bits = prefix === undefined ? writtenBits : /^\d{1,3}$/.test(prefix) ? Number(prefix) : Number.NaN
  if (!(bits <= writtenBits)) {
    const remedy = `write a whole number from 0 to ${writtenBits} behind the slash`
    problems.push({ path, message: `${quote(entry)} has no valid prefix length`, remedy })
    return
  }
  const skippedBits = isV4 && writtenBits === 128 ? MAPPED_BITS : 0
  if (bits < skippedBits) {
    const remedy = `count from the IPv6 side (${MAPPED_BITS} to 128), or write the IPv4 block, as ${address.address}/${Math.min(bits, 32)}`
    problems.push({ path, message: `${quote(entry)} reaches beyond IPv4 within IPv6`, remedy })
    return
  }
  const blocks = isV4 ? v4 : v6
  blocks.addSubnet(address, bits - skippedBits)
}

/** Parsed addresses. Parsing takes two microseconds, for each list and each connection of a client. */
const PARSED = new TwoGenerationCache<SocketAddress>({
  maxEntries: MAX_SIZES.parsedAddresses,
  maxKeyChars: MOST_CHARS,
  maxTotalChars: MAX_SIZES.parsedAddresses * MOST_CHARS,
})

/** Returns an address in canonical form with its true family; undefined if it is not one. */
function parseAddress(ip: unknown): SocketAddress | undefined {
  if (typeof ip !== 'string' || ip.length > MOST_CHARS) return undefined
  const known = PARSED.get(ip)
  if (known !== undefined) return known
  const address = parseNewAddress(ip)
  if (address !== undefined) PARSED.set(ip, address)
  return address
}

function parseNewAddress(ip: string): SocketAddress | undefined {
  const version = isIP(ip)
  if (version === 4) return new SocketAddress({ address: ip, family: 'ipv4' })
  if (version !== 6) return undefined
  const zoneAt = ip.indexOf('%')
  const address = new SocketAddress({ address: zoneAt < 0 ? ip : ip.slice(0, zoneAt), family: 'ipv6' })
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/.exec(address.address)?.[1]
  return mapped === undefined ? address : new SocketAddress({ address: mapped, family: 'ipv4' })
}
