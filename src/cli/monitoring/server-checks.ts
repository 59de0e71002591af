import type { ServerCheck } from '../../admin/index.ts'
import type { Webhook } from '../../index.ts'

const DAY_MS = 86_400_000
const EXPIRY_WARNING_DAYS = 21

/** Checks when the certificates of TLS listeners expire. `expiries` are times by file. */
export function checkCertificates(
  expiries: ReadonlyMap<string, number>,
  nowMs: number,
): readonly ServerCheck[] {
  return [...expiries].map(([file, expiresAtMs]) => {
    const name = 'certificate'
    const days = Math.floor((expiresAtMs - nowMs) / DAY_MS)
    const date = new Date(expiresAtMs).toISOString().slice(0, 10)
    if (expiresAtMs <= nowMs) return { name, result: 'failed', detail: `${file} expired on ${date}` }
    const detail = `${file} expires in ${days} days, on ${date}`
    return { name, result: days < EXPIRY_WARNING_DAYS ? 'warning' : 'ok', detail }
  })
}

/** Connections of trusted proxies whose PROXY header named the client, and those without such a header. */
interface ProxiedConnections {
  readonly withHeader: number
  readonly withoutHeader: number
}

/** Checks whether trusted proxies send the PROXY headers that are expected of them, and only those. */
export function checkProxyHeaders(
  { withHeader, withoutHeader }: ProxiedConnections,
  { isExpected, hasProxies }: { readonly isExpected: boolean; readonly hasProxies: boolean },
): ServerCheck {
  const name = 'PROXY header'
  if (!hasProxies) return { name, result: 'ok', detail: 'not expected: no proxy is trusted' }
  const connections = `${withHeader} connections of trusted proxies named the client, ${withoutHeader} did not`
  if (withoutHeader === 0)
    return { name, result: 'ok', detail: `${isExpected ? 'expected' : 'not expected'}; ${connections}` }
  const remedy = isExpected
    ? 'let the proxy send the header, or leave out --proxy-protocol'
    : 'set --proxy-protocol if the proxy sends the header'
  return { name, result: 'warning', detail: `${connections}, and their limits count by proxy (${remedy})` }
}

/** Sends a test to the webhook of alerts. */
export async function checkWebhook(webhook: Webhook): Promise<ServerCheck> {
  const problem = await webhook.test()
  return problem === undefined
    ? { name: 'webhook', result: 'ok', detail: 'it accepted a test' }
    : { name: 'webhook', result: 'failed', detail: `it did not accept a test: ${problem}` }
}
