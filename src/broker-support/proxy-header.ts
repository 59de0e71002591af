import { isIP } from 'node:net'
import { canonicalIp } from '../conditions/cidr.ts'

/** Result of reading the first bytes of a connection. */
export type ProxyHeader =
  /** No PROXY header. */
  | { readonly kind: 'none' }
  /** Needs more bytes. */
  | { readonly kind: 'partial' }
  /** Malformed header. */
  | { readonly kind: 'broken' }
  /** `sizeBytes` is the header's length; `ip` is absent for the proxy's own connections (LOCAL) and for UNKNOWN. */
  | { readonly kind: 'found'; readonly sizeBytes: number; readonly ip?: string }

const NONE: ProxyHeader = { kind: 'none' }
const PARTIAL: ProxyHeader = { kind: 'partial' }
const BROKEN: ProxyHeader = { kind: 'broken' }

const V1_SIGNATURE = Buffer.from('PROXY ')
const V2_SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')

/** Maximum length of a version 1 line (spec 2.1), and of a version 2 header with its TLVs. */
const MAX_V1_BYTES = 107
const MAX_V2_BYTES = 4_096

/**
 * Reads a PROXY protocol header, version 1 or 2
 * (https://www.haproxy.org/download/3.0/doc/proxy-protocol.txt). Never throws.
 */
export function readProxyHeader(bytes: Buffer): ProxyHeader {
  if (startsWith(bytes, V1_SIGNATURE)) return bytes.length < V1_SIGNATURE.length ? PARTIAL : readV1(bytes)
  if (startsWith(bytes, V2_SIGNATURE)) return bytes.length < 16 ? PARTIAL : readV2(bytes)
  return NONE
}

/** Returns true if the bytes so far match the signature. */
function startsWith(bytes: Buffer, signature: Buffer): boolean {
  const length = Math.min(bytes.length, signature.length)
  return length > 0 && bytes.compare(signature, 0, length, 0, length) === 0
}

function readV1(bytes: Buffer): ProxyHeader {
  const end = bytes.subarray(0, MAX_V1_BYTES).indexOf('\r\n')
  if (end < 0) return bytes.length < MAX_V1_BYTES ? PARTIAL : BROKEN
  const sizeBytes = end + 2
  const [, family, source, destination, ...ports] = bytes.toString('latin1', 0, end).split(' ')
  if (family === 'UNKNOWN') return { kind: 'found', sizeBytes }
  const version = family === 'TCP4' ? 4 : family === 'TCP6' ? 6 : -1
  const sound = isIP(source ?? '') === version && isIP(destination ?? '') === version && ports.length === 2
  return sound ? { kind: 'found', sizeBytes, ip: canonicalIp(source!) } : BROKEN
}

function readV2(bytes: Buffer): ProxyHeader {
  const command = bytes[12]!
  const sizeBytes = 16 + bytes.readUInt16BE(14)
  if (command >> 4 !== 2 || (command & 15) > 1 || sizeBytes > MAX_V2_BYTES) return BROKEN
  if (bytes.length < sizeBytes) return PARTIAL
  // LOCAL: the proxy's own connection, such as a health check.
  if ((command & 15) === 0) return { kind: 'found', sizeBytes }
  const family = bytes[13]! >> 4
  if (family === 1 && sizeBytes >= 28)
    return { kind: 'found', sizeBytes, ip: bytes.subarray(16, 20).join('.') }
  if (family === 2 && sizeBytes >= 52)
    return { kind: 'found', sizeBytes, ip: writeV6(bytes.subarray(16, 32)) }
  return family === 1 || family === 2 ? BROKEN : { kind: 'found', sizeBytes }
}

function writeV6(address: Buffer): string {
  const groups = Array.from({ length: 8 }, (_, index) => address.readUInt16BE(index * 2).toString(16))
  return canonicalIp(groups.join(':'))
}
