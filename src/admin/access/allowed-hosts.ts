/** Names under which this machine itself reaches a server. */
const LOOPBACK = ['localhost', '127.0.0.1', '::1']

/**
 * Checks the Host header against names of the server. Why: a page of another site whose name was rebound to this address
 * sends its own name.
 */
export class AllowedHosts {
  readonly #names: ReadonlySet<string>

  constructor(names: readonly string[]) {
    this.#names = new Set([...LOOPBACK, ...names].map(name => name.toLowerCase()))
  }

  /** `host` is the value of a Host header, with or without a port. */
  includes(host: string | undefined): boolean {
    const name = host === undefined ? undefined : nameOf(host)
    return name !== undefined && this.#names.has(name)
  }

  /** Returns true for the Origin header of a page that an allowed name serves. */
  includesOrigin(origin: string): boolean {
    return URL.canParse(origin) && this.includes(new URL(origin).host)
  }
}

function nameOf(host: string): string | undefined {
  return /^\[([\da-f:.]+)\](?::\d{1,5})?$|^([\w.-]+)(?::\d{1,5})?$/i
    .exec(host)
    ?.slice(1)
    .find(Boolean)
    ?.toLowerCase()
}
