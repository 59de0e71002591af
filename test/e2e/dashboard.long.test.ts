import { readFileSync } from 'node:fs'
import { createServer, request as httpRequest } from 'node:http'
import { createRequire } from 'node:module'
import type { AddressInfo } from 'node:net'
import type { Page } from 'playwright-core'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ensureBuilt } from '../support/built.ts'
import { until } from '../support/wait.ts'
import { type DashboardScene, openDashboardScene } from './dashboard-scene.ts'

const AXE = readFileSync(createRequire(import.meta.url).resolve('axe-core/axe.min.js'), 'utf8')

let scene: DashboardScene

beforeAll(async () => {
  await ensureBuilt()
  scene = await openDashboardScene()
}, 240_000)
afterEach(() => scene.closePages())
afterAll(() => scene?.close())

/** Row of the most refused clients that names the flooding device, once it is the first. */
async function flooderOnTop(page: Page) {
  const first = page.getByRole('table', { name: 'Clients' }).locator('tbody tr').first()
  await first.getByRole('link', { name: 'flooder' }).waitFor()
  return first.getByRole('link', { name: 'flooder' })
}

const WCAG = ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa']

/** Violations of WCAG 2.1 A and AA, or of one rule, one line each. */
async function findViolations(
  page: Page,
  runOnly: string | readonly string[] = WCAG,
): Promise<readonly string[]> {
  await page.evaluate(AXE)
  return page.evaluate(`axe.run({ runOnly: ${JSON.stringify(runOnly)} }).then(({ violations }) =>
    violations.map(({ id, nodes }) => id + ': ' + nodes.map(({ html }) => html.slice(0, 160)).join(' | ')))`)
}

interface CardJson {
  readonly refusals: readonly { readonly reason: string; readonly count: number }[]
}

async function refusedByBan(): Promise<number> {
  const card = (await (await scene.call('GET', 'senders/client:flooder')).json()) as CardJson
  return card.refusals.filter(({ reason }) => reason === 'banned').reduce((sum, { count }) => sum + count, 0)
}

describe('the dashboard without traffic', () => {
  it('shows a client that begins to flood within two seconds of the page', async () => {
    const quiet = await openDashboardScene(false)
    try {
      const { page, faults } = await quiet.open('viewer', {}, undefined, each => each.clock.install())
      const clients = page.getByRole('table', { name: 'Clients' })
      await clients.getByText('none').waitFor()
      // From here on, time passes on the page only when the test says so.
      await page.clock.pauseAt(new Date(Date.now() + 60_000))
      quiet.startTraffic()
      await until(async () => {
        const summary = (await (await quiet.call('GET', 'summary')).json()) as { readonly blocked: number }
        return summary.blocked > 0
      })
      const answered = page.waitForResponse(response => response.url().includes('/senders?'))
      await page.clock.runFor(1_600)
      await answered
      await page.clock.runFor(400)
      await clients.getByRole('link', { name: 'flooder' }).waitFor()
      expect(faults).toEqual([])
    } finally {
      await quiet.close()
    }
  })
})

describe('the dashboard', () => {
  it('shows a flooding client first; a ban from its card stops it, and undo lets it go on', async () => {
    const { page, faults } = await scene.open('operator')
    await (await flooderOnTop(page)).click()
    const card = page.getByRole('dialog', { name: 'client:flooder' })
    await card.getByRole('button', { name: 'Ban, 15 min' }).click()
    await card.getByLabel('Reason, for the audit log').fill('floods since noon')
    await card.getByRole('button', { name: 'Ban, 15 min: client:flooder' }).click()
    await card.getByText('client:flooder is banned for 15 min').waitFor()

    await until(async () => (await refusedByBan()) > 0)
    const before = scene.delivered()
    const refused = await refusedByBan()
    await until(async () => (await refusedByBan()) > refused)
    expect(scene.delivered()).toBe(before)
    const audit = card.getByRole('row', { name: /ban added.*operator.*floods since noon/ })
    await audit.waitFor()

    await card.getByRole('button', { name: 'Undo' }).click()
    await card.getByText('Undone: client:flooder is banned').waitFor()
    await until(() => scene.delivered() > before)
    expect((await scene.call('GET', 'bans/client:flooder')).status).toBe(404)
    await card.getByRole('row', { name: /ban removed.*operator/ }).waitFor()
    expect(faults).toEqual([])
  })

  it('offers no action to a read-only token, and the server refuses one', async () => {
    const { page } = await scene.open('viewer')
    await (await flooderOnTop(page)).click()
    const card = page.getByRole('dialog', { name: 'client:flooder' })
    await card.getByRole('heading', { name: 'Limits' }).waitFor()
    // To close it, and to look.
    expect(await card.getByRole('button').allInnerTexts()).toEqual(['', 'Explain'])
    const ban = { for: '15m', reason: 'not allowed' }
    expect((await scene.call('PUT', 'bans/client:flooder', 'viewer', ban)).status).toBe(403)
    expect((await scene.call('GET', 'bans/client:flooder')).status).toBe(404)
  })

  it.each([
    ['light', WCAG],
    // The rest is the same in both.
    ['dark', 'color-contrast'],
  ] as const)('has no barrier that axe finds, in %s colours', async (colorScheme, rules) => {
    const { page, faults } = await scene.open('admin', { colorScheme, reducedMotion: 'reduce' })
    await flooderOnTop(page)
    expect(await findViolations(page, rules)).toEqual([])
    await page.getByRole('button', { name: 'Table' }).click()
    await page.getByRole('columnheader', { name: 'Share refused' }).waitFor()
    expect(await findViolations(page, rules)).toEqual([])
    await (await flooderOnTop(page)).click()
    await page.getByRole('button', { name: 'Exempt, 1 h' }).click()
    await page.getByRole('button', { name: 'Explain' }).click()
    await page.getByText(/^It would (pass|be refused: drop)/).waitFor()
    await page.getByRole('heading', { name: 'Last refusals' }).waitFor()
    expect(await findViolations(page, rules)).toEqual([])
    await page.keyboard.press('Escape')
    for (const name of ['Rules', 'Bans and overrides', 'Policy', 'Audit']) {
      await page.getByRole('link', { name }).click()
      await page.getByRole('heading', { name, level: 1 }).waitFor()
      if (name === 'Rules') {
        await page.getByRole('button', { name: 'Make a shadow rule' }).click()
        await page.getByRole('button', { name: 'planned' }).click()
        await page.getByRole('button', { name: '10 %' }).click()
      }
      expect(await findViolations(page, rules)).toEqual([])
    }
    expect(faults).toEqual([])
  })

  it('shows the line and column of a fault in the policy, and puts a correct one in force', async () => {
    const { page } = await scene.open('admin')
    await page.getByRole('link', { name: 'Policy' }).click()
    const overlay = page.getByLabel('YAML merged last')
    await overlay.fill('rules:\n  - name: per-client\n    limit: much\n')
    await page.getByRole('button', { name: 'Check' }).click()
    await page.getByRole('button', { name: 'line 3, column 12' }).click()
    expect(await page.evaluate('document.activeElement.selectionStart')).toBe(
      'rules:\n  - name: per-client\n'.length,
    )
    await overlay.fill('rules:\n  - name: per-client\n    limit: 20/s burst 50\n')
    await page.getByRole('button', { name: 'Apply …' }).click()
    await page.getByLabel('Reason, for the audit log').fill('more for all')
    await page.getByRole('button', { name: 'Put it in force' }).click()
    await page.getByText('the policy was changed').waitFor()
    const rule = (await (await scene.call('GET', 'rules/per-client')).json()) as { readonly count: number }
    expect(rule.count).toBe(20)
    await page.getByRole('button', { name: 'Undo' }).click()
    await page.getByText('Undone: the policy was changed').waitFor()
    await page.getByRole('link', { name: 'Audit' }).click()
    await page.getByRole('row', { name: /policy changed.*admin.*more for all/ }).waitFor()
  })

  it('listens to the traffic, and adds the limit that it suggests in shadow; undo removes it', async () => {
    const { page, faults } = await scene.open('admin')
    await openRules(page)
    await page.getByRole('button', { name: 'Make a shadow rule' }).click()
    await until(() => page.evaluate("document.activeElement.name === 'topic'"))
    await page.keyboard.type('fleet/{site}/{device}')
    await page.getByLabel('Counted per').fill('client')
    await page.getByLabel('Reason, for the audit log').fill('limits for the fleet')
    await page.getByRole('button', { name: 'Listen' }).click()
    await page.getByRole('progressbar', { name: 'Listening' }).waitFor()
    // It listens on while another page is shown.
    await page.getByRole('link', { name: 'Overview' }).click()
    await page.getByRole('heading', { name: 'Overview' }).waitFor({ state: 'attached' })
    await page.getByRole('link', { name: 'Rules' }).click()
    await page.getByText(/messages, 2 keys by client: median/).waitFor()
    await page.getByText(/^Confidence: low/).waitFor()
    await page.getByText(/^Set apart: flooder sends \S+ × the median/).waitFor()
    expect(await findViolations(page)).toEqual([])

    const name = page.getByLabel('Name')
    await name.fill('planned')
    await page.getByRole('button', { name: 'Add in shadow' }).click()
    await page
      .getByRole('alert')
      .getByText('there is a rule "planned" already (choose another name')
      .waitFor()
    await name.fill('trial')
    await page.getByRole('button', { name: 'Add in shadow' }).click()
    await page.getByText('trial added in shadow').waitFor()
    const row = page.getByRole('row', {
      name: /^trial publish fleet\/\{site\}\/\{device\} .* in shadow – – – /,
    })
    await row.waitFor()
    await until(async () => /^[1-9]/.test(await row.getByRole('cell').nth(5).innerText()))
    expect(await readOverlay()).toMatch(/name: trial.*per: client.*shadow: true/s)

    await page.getByRole('button', { name: 'Undo' }).click()
    await page.getByText('Undone: trial added in shadow').waitFor()
    await row.waitFor({ state: 'detached' })
    expect(await readOverlay()).not.toContain('trial')
    await page.getByRole('link', { name: 'Audit' }).click()
    await page.getByRole('row', { name: /policy changed.*admin.*limits for the fleet/ }).waitFor()
    // The browser reports the refused request as an error of the page.
    expect(faults).toEqual([expect.stringContaining('409')])
  })

  it('stops to listen when that is cancelled, and says what is wrong with a pattern at once', async () => {
    const { page } = await scene.open('admin', { viewport: { width: 390, height: 844 } })
    await openRules(page)
    await page.getByRole('button', { name: 'Make a shadow rule' }).click()
    const [topic, listen] = [page.getByLabel('Topic pattern'), page.getByRole('button', { name: 'Listen' })]
    await page.getByLabel('Reason, for the audit log').fill('a look')
    await page.getByLabel('Time to listen').selectOption('4 min')
    await topic.fill('fleet/#/t')
    await listen.click()
    await page
      .getByRole('alert')
      .getByText('# must be the last character (use + for a single level')
      .waitFor()
    await topic.fill('fleet/#')
    await listen.click()
    await page.getByText(/^Listening, 3 min/).waitFor()
    expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(390)
    await page.getByRole('button', { name: 'Cancel' }).click()
    await page.getByRole('alert').getByText('Cancelled.').waitFor()
    await until(async () => (await scene.call('GET', 'suggest?for=100ms&reason=next')).status === 200)
    await page.getByRole('button', { name: 'Cancel' }).click()
    await topic.waitFor({ state: 'detached' })
    expect(await readOverlay()).not.toContain('a look')
  })

  it('lets a rule in shadow refuse for a share of the senders, then for all, and takes that back', async () => {
    const { page, faults } = await scene.open('admin')
    await openRules(page)
    await page.getByRole('button', { name: 'planned' }).click()
    // Whom it would refuse.
    await page.getByRole('listitem').getByRole('link', { name: 'flooder' }).waitFor()
    const steps = page.getByRole('group', { name: 'Senders for whom planned is in force' })
    const choose = async (step: string): Promise<void> => {
      await steps.getByRole('button', { name: step, exact: true }).click()
      await page.getByLabel('Reason, for the audit log').fill(`now for ${step}`)
      await page.getByRole('button', { name: `In force for ${step}: planned` }).click()
      await page.getByText(`planned is in force for ${step}`, { exact: true }).waitFor()
    }
    const shareInShadow = async (): Promise<number> => {
      const rule = (await (await scene.call('GET', 'rules/planned')).json()) as {
        readonly shadowShare: number
      }
      return rule.shadowShare
    }
    await choose('10 %')
    expect(await shareInShadow()).toBe(0.9)
    await page.getByRole('row', { name: /^planned .* 90 % in shadow/ }).waitFor()
    await choose('all')
    expect(await shareInShadow()).toBe(0)
    await page.getByRole('button', { name: 'Undo' }).click()
    await page.getByText('Undone: planned is in force for all').waitFor()
    expect(await shareInShadow()).toBe(0.9)
    await steps.getByRole('button', { name: '10 %', pressed: true }).waitFor()
    await choose('none')
    expect(await shareInShadow()).toBe(1)
    expect(faults).toEqual([])
  })

  it('offers changes of rules to admins only', async () => {
    const { page } = await scene.open('operator')
    await openRules(page)
    await page.getByRole('button', { name: 'planned' }).click()
    await page.getByRole('heading', { name: 'Topics' }).waitFor()
    expect(await page.getByRole('button', { name: 'Make a shadow rule' }).count()).toBe(0)
    expect(await page.getByText('In force for').count()).toBe(0)
  })

  it('is used by keyboard: Enter opens a card, Escape closes it, and the focus returns', async () => {
    const { page } = await scene.open('viewer')
    const link = await flooderOnTop(page)
    await link.focus()
    await page.keyboard.press('Enter')
    const card = page.getByRole('dialog', { name: 'client:flooder' })
    await card.waitFor()
    expect(await page.evaluate("document.querySelector('dialog').contains(document.activeElement)")).toBe(
      true,
    )
    await page.keyboard.press('Escape')
    await card.waitFor({ state: 'detached' })
    await until(() => page.evaluate("document.activeElement.textContent === 'flooder'"))
  })

  it('closes its only event stream while its tab is hidden', async () => {
    const { page } = await scene.open('viewer')
    await flooderOnTop(page)
    const others = (await countStreams()) - 1
    const setHidden = (isHidden: boolean): Promise<unknown> =>
      page.evaluate(`Object.defineProperty(document, 'hidden', { value: ${isHidden}, configurable: true })
        document.dispatchEvent(new Event('visibilitychange'))`)
    await setHidden(true)
    await until(async () => (await countStreams()) === others)
    await setHidden(false)
    await until(async () => (await countStreams()) === others + 1)
    await page.getByRole('button', { name: 'Live' }).waitFor()
    expect(await countStreams()).toBe(others + 1)
  })

  it('asks for a token, says why one is refused, and keeps it out of the address', async () => {
    const { page } = await scene.open('viewer')
    await flooderOnTop(page)
    expect(page.url()).toBe(`${scene.url}/ui/`)
    await page.getByRole('button', { name: 'Sign out' }).click()
    await page.getByLabel('Token').fill('tg_viewer_wrong')
    await page.getByRole('button', { name: 'Sign in' }).click()
    await page.getByRole('alert').getByText('the token is wrong or expired').waitFor()
    expect(await findViolations(page)).toEqual([])
    await page.getByLabel('Token').fill(scene.tokens.viewer)
    await page.getByRole('button', { name: 'Sign in' }).click()
    await flooderOnTop(page)
    await page.getByText('viewer, viewer').waitFor()
    expect(page.url()).toBe(`${scene.url}/ui/`)
  })

  it('works under a base path of a proxy, and calls no other host', async () => {
    const proxy = createServer(({ url = '', method, headers }, response) => {
      if (!url.startsWith('/ops/gate/')) return void response.writeHead(404).end()
      const target = new URL(url.slice('/ops/gate'.length), scene.url)
      httpRequest(target, { method, headers }, answer => {
        response.writeHead(answer.statusCode ?? 502, answer.headers)
        answer.pipe(response)
        response.on('close', () => answer.destroy())
      }).end()
    })
    await new Promise<void>(resolve => proxy.listen(0, '127.0.0.1', resolve))
    const base = `http://127.0.0.1:${(proxy.address() as AddressInfo).port}/ops/gate`
    const { page, faults } = await scene.open('viewer', {}, base)
    await flooderOnTop(page)
    await page.getByRole('button', { name: 'Live' }).waitFor()
    expect(faults).toEqual([])
    await scene.closePages()
    proxy.close()
    proxy.closeAllConnections()
  })
})

/** Opens the page of the rules. It listens for two seconds instead of half a minute. */
async function openRules(page: Page): Promise<void> {
  await page.route(/\/suggest\?.*for=30s/, route =>
    route.continue({ url: route.request().url().replace('for=30s', 'for=2s') }),
  )
  await page.getByRole('link', { name: 'Rules' }).click()
  await page.getByRole('button', { name: 'planned' }).waitFor()
}

async function readOverlay(): Promise<string> {
  const policy = (await (await scene.call('GET', 'policy')).json()) as { readonly overlay: { text: string } }
  return policy.overlay.text
}

async function countStreams(): Promise<number> {
  const status = (await (await scene.call('GET', 'status')).json()) as { readonly streams: number }
  return status.streams
}
