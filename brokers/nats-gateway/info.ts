/** INFO of a server, as far as the gateway uses it. All other fields are kept. */
export interface ServerInfo {
  readonly max_payload?: number | undefined
  readonly nonce?: string | undefined
  readonly headers?: boolean | undefined
  /** Level of the API; trusted proxies are understood from 2 on. */
  readonly api_lvl?: number | undefined
  readonly tls_required?: boolean | undefined
  readonly [field: string]: unknown
}

/** Fields that lead clients around the gateway, or describe the TLS of the server. */
const REMOVED = ['connect_urls', 'ws_connect_urls', 'tls_required', 'tls_verify', 'tls_available']

export interface InfoChanges {
  readonly clientIp: string
  /** True if the client is connected with TLS. */
  readonly isTls: boolean
  readonly maxPayloadBytes: number
  /** Addresses of gateways that clients may connect to; undefined for none. */
  readonly advertise: readonly string[] | undefined
}

/** Parses an INFO line. Returns undefined if it is not JSON. */
export function readInfo(line: string): ServerInfo | undefined {
  try {
    const info: unknown = JSON.parse(line.slice('INFO'.length))
    return typeof info === 'object' && info !== null && !Array.isArray(info)
      ? (info as ServerInfo)
      : undefined
  } catch {
    return undefined
  }
}

/** Returns the INFO for a client of the gateway. */
export function rewriteInfo(info: ServerInfo, changes: InfoChanges): ServerInfo {
  const kept = Object.entries(info).filter(([name]) => !REMOVED.includes(name))
  const rewritten: Record<string, unknown> = Object.fromEntries(kept)
  if (changes.clientIp !== '' && 'client_ip' in rewritten) rewritten.client_ip = changes.clientIp
  rewritten.max_payload = changes.maxPayloadBytes
  if (changes.isTls) rewritten.tls_required = true
  if (changes.advertise !== undefined) rewritten.connect_urls = changes.advertise
  return rewritten
}

export function encodeInfo(info: ServerInfo): Buffer {
  return Buffer.from(`INFO ${JSON.stringify(info)} \r\n`)
}
