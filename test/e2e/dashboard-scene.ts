import { join } from 'node:path'
import type { BrowserContextOptions, Page } from 'playwright-core'
import { ROLES, type Role } from '../../src/admin/access/roles.ts'
import { writeTokens } from '../../src/admin/access/token-file.ts'
import { createToken } from '../../src/admin/access/tokens.ts'
import { Folder } from '../src/cli/folder.ts'
import { CLI } from '../support/built.ts'
import { launchChromium, PAGE_TIMEOUT_MS } from '../support/chromium.ts'
import { connectClient, type TestClient } from '../support/mqtt-client.ts'
import { startNode } from '../support/program.ts'
import { logged } from './cli.ts'

const POLICY = `version: 1
rules:
  - { name: per-client, topic: 'fleet/#', per: client, limit: 10/s burst 50, exceeded: drop }
  - { name: planned, topic: 'fleet/#', per: client, limit: 1/s, shadow: true }
`
const FLOOD_TICK_MS = 20
const FLOOD_PER_TICK = 4
/** The quiet device publishes at every so many ticks. */
const QUIET_TICKS = 20

/** A page with what went wrong on it: errors, refused content, requests to other hosts. */
export interface WatchedPage {
  readonly page: Page
  readonly faults: readonly string[]
}

/** A broker with its dashboard, a device that floods, another that does not, and a browser. */
export interface DashboardScene {
  readonly url: string
  readonly tokens: Readonly<Record<Role, string>>
  /** Messages that arrived from the flooding device. */
  readonly delivered: () => number
  /** Lets the devices publish, if they do not yet. */
  startTraffic(): void
  /** Sends a request to the admin API as admin, or with another role. */
  call(method: string, path: string, role?: Role, body?: unknown): Promise<Response>
  /** Opens a page of its own, with a token of this role. */
  open(
    role: Role,
    options?: BrowserContextOptions,
    base?: string,
    prepare?: (page: Page) => Promise<void>,
  ): Promise<WatchedPage>
  closePages(): Promise<void>
  close(): Promise<void>
}

export async function openDashboardScene(hasTraffic = true): Promise<DashboardScene> {
  const folder = new Folder()
  const tokenFile = join(folder.path, 'tokens')
  const made = ROLES.map(role => createToken(role, role))
  await writeTokens(
    tokenFile,
    made.map(({ entry }) => entry),
  )
  const tokens = Object.fromEntries(made.map(({ token, entry }) => [entry.name, token])) as Record<
    Role,
    string
  >
  const broker = startNode(
    [
      ...[CLI, 'broker', folder.file('policy.yaml', POLICY), '--port', '0'],
      ...['--admin', '127.0.0.1:0', '--admin-tokens', tokenFile],
    ],
    { timeoutMs: 300_000 },
  )
  const { port, msg } = await logged(broker, /ready/)
  const url = /http:\S+/.exec(String(msg))![0]
  const subscriber = await connectClient({ port: Number(port), clientId: 'subscriber' })
  await subscriber.subscribe('fleet/#', 0)
  const devices = await Promise.all(
    ['flooder', 'quiet'].map(clientId => connectClient({ port: Number(port), clientId })),
  )
  let timer: NodeJS.Timeout | undefined
  const startTraffic = (): void => {
    let tick = 0
    timer ??= setInterval(() => sendOnce(devices, tick++), FLOOD_TICK_MS)
  }
  if (hasTraffic) startTraffic()
  const browser = await launchChromium()
  return {
    url,
    tokens,
    startTraffic,
    delivered: () => subscriber.messages.filter(({ topic }) => topic.endsWith('/flooder')).length,
    call: (method, path, role = 'admin', body = undefined) =>
      fetch(`${url}/api/v1/${path}`, {
        method,
        headers: { authorization: `Bearer ${tokens[role]}`, 'content-type': 'application/json' },
        body: body === undefined ? null : JSON.stringify(body),
      }),
    async open(role, options = {}, base = url, prepare = async () => {}) {
      const context = await browser.newContext(options)
      const page = await context.newPage()
      page.setDefaultTimeout(PAGE_TIMEOUT_MS)
      await prepare(page)
      const faults: string[] = []
      page.on('pageerror', error => faults.push(String(error)))
      page.on('console', message => {
        if (message.type() === 'error') faults.push(message.text())
      })
      page.on('request', request => {
        if (!request.url().startsWith(base)) faults.push(`request to ${request.url()}`)
      })
      await page.goto(`${base}/ui/#token=${tokens[role]}`)
      return { page, faults }
    },
    async closePages() {
      await Promise.all(browser.contexts().map(context => context.close()))
    },
    async close() {
      clearInterval(timer)
      await browser.close()
      await Promise.all([...devices, subscriber].map(client => client.close()))
      broker.signal('SIGTERM')
      await broker.ended
      folder[Symbol.dispose]()
    },
  }
}

function sendOnce([flooder, quiet]: readonly TestClient[], tick: number): void {
  for (let n = 0; n < FLOOD_PER_TICK; n++) flooder!.client.publish('fleet/berlin/flooder', 'x')
  if (tick % QUIET_TICKS === 0) quiet!.client.publish('fleet/berlin/quiet', 'x')
}
