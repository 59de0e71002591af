import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Browser, Locator, Page } from 'playwright-core'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { CLI, ensureBuilt, ROOT } from '../support/built.ts'
import { launchChromium, PAGE_TIMEOUT_MS } from '../support/chromium.ts'
import { type Program, startNode } from '../support/program.ts'

/** With TOPICGATE_SCREENSHOTS=write the images of the documentation are replaced. */
const isWriting = process.env.TOPICGATE_SCREENSHOTS === 'write'
const FOLDER = join(ROOT, 'docs/images')
const MAX_IMAGE_BYTES = 150_000
/** Time that the chart of an image covers. */
const TRAFFIC_MS = isWriting ? 45_000 : 0

let demo: Program
let browser: Browser
let address: string

beforeAll(async () => {
  await ensureBuilt()
  demo = startNode([CLI, 'demo', '--ui'], { timeoutMs: 300_000 })
  address = (await demo.line(/^dashboard: (\S+)/))[1]!
  browser = await launchChromium()
  await new Promise(resolve => setTimeout(resolve, TRAFFIC_MS))
}, 240_000)
afterAll(async () => {
  await browser?.close()
  demo?.signal('SIGTERM')
})

async function save(shown: Page | Locator, name: string): Promise<void> {
  if (!isWriting) return
  const image = await shown.screenshot()
  expect(image.length, name).toBeLessThan(MAX_IMAGE_BYTES)
  mkdirSync(FOLDER, { recursive: true })
  writeFileSync(join(FOLDER, `${name}.png`), image)
}

it.each([
  ['light', 1280, 880],
  ['dark', 1280, 880],
  ['light', 390, 844],
  ['dark', 390, 844],
] as const)(
  'no page of the dashboard is wider than its window: %s, %d pixels',
  async (colorScheme, width, height) => {
    const page = await browser.newPage({ colorScheme, viewport: { width, height } })
    page.setDefaultTimeout(PAGE_TIMEOUT_MS)
    const expectToFit = async (): Promise<void> =>
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(width)
    await page.goto(address)
    await page.getByRole('table', { name: 'Clients' }).getByRole('link', { name: 'flooder' }).waitFor()
    await page.getByText(/\d\/s allowed/).waitFor()
    await page.getByText(/^[1-9]\d* \/s refused/).waitFor()
    await page.getByLabel('Table of live refusals').getByRole('link', { name: 'client:flooder' }).waitFor()
    await expectToFit()
    await save(page, `dashboard-${colorScheme}-${width}`)
    for (const name of ['Rules', 'Bans and overrides', 'Policy', 'Audit']) {
      await page.getByRole('link', { name }).click()
      await page.getByRole('heading', { name, level: 1 }).waitFor()
      if (name === 'Rules') await page.getByRole('row').getByRole('button').first().click()
      await expectToFit()
    }
    await page.getByRole('link', { name: 'Overview' }).click()
    await page.getByRole('table', { name: 'Clients' }).getByRole('link', { name: 'flooder' }).click()
    const card = page.getByRole('dialog', { name: 'client:flooder' })
    await card.getByText('0 of 50', { exact: true }).waitFor()
    await expectToFit()
    if (colorScheme === 'light' && width > 640) await save(card, 'dashboard-card')
    await page.close()
  },
)
