import { StoreError } from '../../core/errors.ts'

export interface HostPort {
  readonly host: string
  readonly port: number
}

/** Address and credentials of a Redis, from its URL. */
export interface RedisAddress {
  readonly kind: 'standalone' | 'sentinel' | 'cluster'
  readonly isEncrypted: boolean
  readonly hosts: readonly [HostPort, ...HostPort[]]
  readonly username?: string | undefined
  readonly password?: string | undefined
  readonly db?: number | undefined
  /** Name of the master, only with Sentinel. */
  readonly master?: string | undefined
}

const FORM =
  /^(redis|rediss)(?:\+(sentinel|cluster))?:\/\/(?:([^@/]*)@)?([^@/?#]+)(?:\/([^?#]*))?(?:\?db=(\d+))?$/
const HOST = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+))(?::(\d{1,5}))?$/
const EXAMPLES =
  'redis://[user:password@]host[:6379][/db], redis+sentinel://host1,host2/name[?db=1] or redis+cluster://host1,host2, with rediss for TLS'

/**
 * Parses `redis://`, `redis+sentinel://`, `redis+cluster://` and the same with `rediss`. Throws StoreError that lists
 * the valid forms but not the URL, which may hold a password.
 */
export function parseRedisUrl(url: string): RedisAddress {
  const parts = FORM.exec(url)
  if (parts === null) throw badUrl('it is none of these')
  const [, scheme, more, login, hostList, path = '', query] = parts
  const kind = more === 'sentinel' || more === 'cluster' ? more : 'standalone'
  const hosts = hostList!.split(',').map(text => parseHost(text, kind === 'sentinel' ? 26_379 : 6_379))
  if (kind === 'standalone' && hosts.length > 1) throw badUrl('several hosts are a cluster, or sentinels')
  if (kind === 'sentinel' && path === '') throw badUrl('the name of the master is missing')
  if (kind === 'cluster' && (path !== '' || query !== undefined)) throw badUrl('a cluster has one database')
  if (kind === 'standalone' && !/^\d*$/.test(path)) throw badUrl('a database is a number')
  const db = query ?? (kind === 'standalone' && path !== '' ? path : undefined)
  return {
    kind,
    isEncrypted: scheme === 'rediss',
    hosts: hosts as [HostPort, ...HostPort[]],
    ...loginOf(login),
    ...(db === undefined ? {} : { db: Number(db) }),
    ...(kind === 'sentinel' ? { master: decode(path) } : {}),
  }
}

function parseHost(text: string, defaultPort: number): HostPort {
  const parts = HOST.exec(text)
  const port = Number(parts?.[3] ?? defaultPort)
  if (parts === null || port < 1 || port > 65_535) throw badUrl('a host in it cannot be read')
  return { host: (parts[1] ?? parts[2])!, port }
}

function loginOf(login: string | undefined): Pick<RedisAddress, 'username' | 'password'> {
  if (login === undefined || login === '') return {}
  const colon = login.indexOf(':')
  // As in other libraries, a single word is a user name: `redis://:password@host` has no user.
  const username = decode(colon < 0 ? login : login.slice(0, colon))
  const password = colon < 0 ? '' : decode(login.slice(colon + 1))
  return { ...(username === '' ? {} : { username }), ...(password === '' ? {} : { password }) }
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text)
  } catch {
    throw badUrl('a part of it is not percent-encoded UTF-8')
  }
}

function badUrl(why: string): StoreError {
  return new StoreError(`this is not a URL of Redis: ${why} (write ${EXAMPLES})`)
}
