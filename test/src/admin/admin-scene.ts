import { mkdtempSync, writeFileSync } from 'node:fs'
import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ROLES, type Role } from '../../../src/admin/access/roles.ts'
import { createToken, formatTokenFile } from '../../../src/admin/access/tokens.ts'
import { type AdminServer, type AdminServerOptions, adminServer } from '../../../src/admin/admin-server.ts'
import { Gate, type GateOptions, type PolicySource } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

export const POLICY = {
  version: 1,
  tiers: { gold: { limit: '1000/s' } },
  rules: [
    { name: 'per-client', topic: 'fleet/#', per: 'client', limit: '10/s burst 50' },
    { name: 'per-site', topic: 'fleet/{site}/#', per: 'site', limit: '1000/s' },
  ],
}

export interface Answer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly text: string
  /** Parsed body; undefined if it is empty or no JSON. */
  readonly body: unknown
}

export interface CallOptions {
  readonly token?: string | undefined
  readonly body?: unknown
  /** Body as it is sent, in place of `body`. */
  readonly raw?: string | Buffer | undefined
  readonly headers?: Readonly<Record<string, string>> | undefined
}

/** An admin server with a token for each role, on a free port of this machine. */
export interface AdminScene {
  readonly gate: Gate
  /** Clock of the gate and the server; stands still until it is advanced. */
  readonly clock: FakeClock
  readonly server: AdminServer
  readonly url: string
  readonly folder: string
  readonly tokenFile: string
  readonly tokens: Readonly<Record<Role, string>>
  /** Sends a request with the admin's token, unless another is given. */
  call(method: string, path: string, options?: CallOptions): Promise<Answer>
  close(): Promise<void>
}

export async function openAdminScene(
  options: {
    readonly policy?: PolicySource | undefined
    readonly gate?: GateOptions | undefined
    readonly server?: Partial<AdminServerOptions> | undefined
  } = {},
): Promise<AdminScene> {
  const folder = mkdtempSync(join(tmpdir(), 'topicgate-admin-'))
  const tokenFile = join(folder, 'tokens')
  const made = ROLES.map(role => createToken(role, role))
  writeFileSync(tokenFile, formatTokenFile(made.map(({ entry }) => entry)), { mode: 0o600 })
  const clock = new FakeClock(Date.now())
  const gate = await Gate.fromPolicy(options.policy ?? POLICY, { clock, ...options.gate })
  const server = await adminServer(gate, {
    listen: '127.0.0.1:0',
    tokens: tokenFile,
    node: 'node-a',
    ...options.server,
  })
  const url = server.urls.find(each => each.startsWith('http')) ?? ''
  const tokens = Object.fromEntries(made.map(({ token, entry }) => [entry.name, token])) as Record<
    Role,
    string
  >
  return {
    gate,
    clock,
    server,
    url,
    folder,
    tokenFile,
    tokens,
    call: (method, path, given = {}) => send(new URL(path, url), method, { token: tokens.admin, ...given }),
    async close() {
      await server.close()
      await gate.close()
    },
  }
}

/** Sends a request as it is: unlike fetch, any Host header and any path may be sent. */
export function send(
  target: URL | { readonly socketPath: string; readonly path: string },
  method: string,
  { token, body, raw, headers }: CallOptions,
): Promise<Answer> {
  const content = raw ?? (body === undefined ? undefined : JSON.stringify(body))
  const place =
    target instanceof URL
      ? { host: target.hostname, port: target.port, path: target.pathname + target.search }
      : target
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      {
        ...place,
        method,
        agent: false,
        headers: {
          ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
          ...(content === undefined ? {} : { 'content-type': 'application/json' }),
          ...headers,
        },
      },
      response => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () => {
          const text = Buffer.concat(chunks).toString()
          const isJson = /[/+]json(;|$)/.test(response.headers['content-type'] ?? '')
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text,
            body: isJson && text !== '' ? (JSON.parse(text) as unknown) : undefined,
          })
        })
        response.on('error', reject)
      },
    )
    request.on('error', reject)
    request.end(content)
  })
}
