import { request } from '../api/request.ts'
import type { Policy } from '../api/types.ts'
import { showUndoableChange } from './notice.ts'

/** Overlay in place of an empty one, which is no policy. */
const NO_CHANGES = 'version: 1\nrules: []\n'

/**
 * Sends a change of the overlay, and offers to undo it, which brings the overlay back as it was. With an ETag it applies only
 * to the policy of that version. Rejects with RequestError.
 */
export async function changePolicy(
  text: string,
  method: string,
  path: string,
  body: object,
  ifMatch?: string,
): Promise<void> {
  const { overlay } = await request<Policy>('GET', 'policy')
  const { etag } = await send(method, path, body, ifMatch)
  const before = { overlay: overlay?.text || NO_CHANGES, reason: 'undo' }
  showUndoableChange(text, () => send('PUT', 'policy/overlay', before, etag))
}

function send(
  method: string,
  path: string,
  body: object,
  etag: string | undefined,
): Promise<{ readonly etag: string }> {
  return request(method, path, { body, headers: etag === undefined ? {} : { 'if-match': `"${etag}"` } })
}
