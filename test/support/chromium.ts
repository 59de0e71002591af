import { type Browser, chromium } from 'playwright-core'
import { findBinary } from './server.ts'

/** Options that disable background requests of the browser and let it run in a container. */
const ARGUMENTS = [
  ...['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking'],
  ...['--disable-component-update', '--disable-sync'],
]

/** Maximum wait for a page. Long, because the machine may be busy. */
export const PAGE_TIMEOUT_MS = 120_000

/** Starts a headless Chromium with an empty profile. */
export function launchChromium(): Promise<Browser> {
  const executablePath = findBinary({ program: 'chromium', variable: 'TOPICGATE_CHROMIUM' })
  return chromium.launch({ executablePath, headless: true, args: ARGUMENTS })
}
