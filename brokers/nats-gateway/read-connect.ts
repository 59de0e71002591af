import { isSignedBy } from './nkeys.ts'

/** CONNECT of a client. */
export interface Connect {
  /** The line to forward. */
  readonly line: Buffer
  readonly name: string | undefined
  /** Username, or the public key of an nkey or a JWT whose signature the gateway has verified. */
  readonly user: string | undefined
  /** Claims of a JWT. The server verifies them, the gateway does not. */
  readonly jwt: Readonly<Record<string, unknown>> | undefined
  readonly lang: string | undefined
  readonly version: string | undefined
  readonly isVerbose: boolean
  readonly acceptsHeaders: boolean
  /** True if the client understands later INFOs. */
  readonly acceptsInfo: boolean
}

/**
 * Reads a CONNECT line. Returns undefined if it is malformed, or if the server could read another identity in it: servers
 * ignore the case of field names.
 */
export function readConnect(line: Buffer, nonce: string | undefined): Connect | undefined {
  const json = line.toString('utf8').slice('CONNECT'.length).trim()
  const fields = parseFields(json)
  if (fields === undefined) return undefined
  const text = (name: string): string | undefined => {
    const value = fields.get(name)
    return typeof value === 'string' && value !== '' ? value : undefined
  }
  const identity = readIdentity(text, nonce)
  if (identity === undefined) return undefined
  const normalized = JSON.stringify(Object.fromEntries(fields))
  return {
    line: normalized === json ? line : Buffer.from(`CONNECT ${normalized}\r\n`),
    name: text('name'),
    user: identity.user,
    jwt: identity.jwt,
    lang: text('lang'),
    version: text('version'),
    // Servers confirm lines unless the client says no.
    isVerbose: fields.get('verbose') !== false,
    acceptsHeaders: fields.get('headers') === true,
    acceptsInfo: fields.get('protocol') === 1,
  }
}

/** Returns a CONNECT line with the signature of a trusted proxy. */
export function addProxySignature(line: Buffer, signature: string): Buffer {
  const fields: unknown = JSON.parse(line.toString('utf8').slice('CONNECT'.length))
  return Buffer.from(`CONNECT ${JSON.stringify({ ...(fields as object), proxy_sig: signature })}\r\n`)
}

/** Returns the fields by name in lower case; undefined if it is not an object, or one name is written in two ways. */
function parseFields(json: string): ReadonlyMap<string, unknown> | undefined {
  let parsed: unknown
  try {
    parsed = JSON.parse(json)
  } catch {
    return undefined
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return undefined
  const fields = new Map<string, unknown>()
  for (const [name, value] of Object.entries(parsed)) {
    const lowerCase = name.toLowerCase()
    // Servers also take some letters beyond ASCII for s and k.
    if (!/^[\x20-\x7e]*$/.test(name) || fields.has(lowerCase)) return undefined
    fields.set(lowerCase, value)
  }
  return fields
}

interface ConnectIdentity {
  readonly user: string | undefined
  readonly jwt: Readonly<Record<string, unknown>> | undefined
}

/**
 * Returns the identity in a CONNECT: its user, or a key whose signature of the nonce is valid. Returns undefined if it
 * holds two identities, because the server may use either. Without a nonce keys are ignored. Why: a server that sends no
 * nonce does not check keys, so a CONNECT could name the key of another client.
 */
function readIdentity(
  text: (name: string) => string | undefined,
  nonce: string | undefined,
): ConnectIdentity | undefined {
  const user = text('user')
  if (nonce === undefined) return { user, jwt: undefined }
  const token = text('jwt')
  const jwt = token === undefined ? undefined : readClaims(token)
  if (token !== undefined && jwt === undefined) return undefined
  const subject = typeof jwt?.sub === 'string' ? jwt.sub : undefined
  const nkey = text('nkey')
  const key = nkey ?? subject
  if (key === undefined) return { user, jwt }
  if (user !== undefined || (subject !== undefined && key !== subject)) return undefined
  return { user: isSignedBy(key, nonce, text('sig') ?? '') ? key : undefined, jwt }
}

function readClaims(token: string): Readonly<Record<string, unknown>> | undefined {
  try {
    const claims: unknown = JSON.parse(Buffer.from(token.split('.')[1] ?? '', 'base64url').toString('utf8'))
    return typeof claims === 'object' && claims !== null ? (claims as Record<string, unknown>) : undefined
  } catch {
    return undefined
  }
}
