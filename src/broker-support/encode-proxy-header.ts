import { isIPv4 } from 'node:net'

/** End of a connection. */
export interface Endpoint {
  readonly ip: string
  /** 0 if it is not known. */
  readonly port: number
}

const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')
const VERSION_2 = 0x20
const LOCAL = 0
const PROXY = 1
const TCP_IPV4 = 0x11
const TCP_IPV6 = 0x21

/** Header for connections of the proxy itself, such as health checks. */
export const LOCAL_PROXY_HEADER: Buffer = Buffer.concat([
  SIGNATURE,
  Buffer.from([VERSION_2 | LOCAL, 0, 0, 0]),
])

/**
 * Returns a PROXY protocol header, version 2 (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt): 28 bytes for
 * IPv4, 52 for IPv6 or for one end of each.
 */
export function encodeProxyHeader(source: Endpoint, destination: Endpoint): Buffer {
  const isV4 = isIPv4(source.ip) && isIPv4(destination.ip)
  const encode = isV4 ? encodeV4 : encodeV6
  const addresses = Buffer.concat([encode(source.ip), encode(destination.ip)])
  const head = Buffer.from([VERSION_2 | PROXY, isV4 ? TCP_IPV4 : TCP_IPV6, 0, addresses.length + 4])
  const ports = Buffer.alloc(4)
  ports.writeUInt16BE(source.port)
  ports.writeUInt16BE(destination.port, 2)
  return Buffer.concat([SIGNATURE, head, addresses, ports])
}

function encodeV4(ip: string): Buffer {
  return Buffer.from(ip.split('.').map(Number))
}

/** Encodes an IPv6 address, or an IPv4 address mapped into IPv6. */
function encodeV6(ip: string): Buffer {
  if (isIPv4(ip)) return Buffer.concat([Buffer.alloc(10), Buffer.from([0xff, 0xff]), encodeV4(ip)])
  // A zone, as in fe80::1%eth0, is of this machine only.
  const [address = ''] = ip.split('%')
  const mapped = /^(.*:)(\d+\.\d+\.\d+\.\d+)$/.exec(address)
  const tail = mapped === null ? Buffer.alloc(0) : encodeV4(mapped[2]!)
  const text = mapped === null ? address : mapped[1]!.replace(/([^:]):$/, '$1')
  const [left = '', right] = text.split('::')
  const groupsOf = (part: string | undefined): number[] =>
    part === undefined || part === '' ? [] : part.split(':').map(group => Number.parseInt(group, 16))
  const before = groupsOf(left)
  const after = groupsOf(right)
  const bytes = Buffer.alloc(16)
  before.forEach((group, index) => void bytes.writeUInt16BE(group, index * 2))
  const end = 16 - tail.length
  after.forEach((group, index) => void bytes.writeUInt16BE(group, end - (after.length - index) * 2))
  tail.copy(bytes, end)
  return bytes
}
