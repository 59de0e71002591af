import type { AdminClient } from './client.ts'
import type { CommandOutput } from './run.ts'

/** Sends a change of the policy and describes the version that is in force after it. */
export async function changePolicy(
  client: AdminClient,
  method: string,
  path: string,
  body?: object,
  headers?: Readonly<Record<string, string>>,
): Promise<CommandOutput> {
  const json = await client.send<{ etag: string; version: number | null }>(method, path, body, headers)
  const version = json.version === null ? '' : `, version ${json.version} of the overlay`
  return { json, lines: [`in force: policy ${json.etag}${version}`] }
}
