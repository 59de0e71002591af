import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { writeTokens } from '../../admin/access/token-file.ts'
import { createToken } from '../../admin/access/tokens.ts'
import type { AdminServerOptions } from '../../admin/index.ts'
import { DecisionTimer, type Gate } from '../../index.ts'
import { startAdmin } from '../server/start-admin.ts'

/** Dashboard of a running demo. */
export interface DemoDashboard {
  /** With a token for this run in the fragment, which browsers do not send. */
  readonly url: string
  close(): Promise<void>
}

/** Serves the dashboard at a free port of this machine. */
export async function startDemoDashboard(
  gate: Gate,
  broker: NonNullable<AdminServerOptions['broker']>,
): Promise<DemoDashboard> {
  const folder = await mkdtemp(join(tmpdir(), 'topicgate-demo-'))
  const tokens = join(folder, 'tokens')
  const durations = new DecisionTimer({ gate })
  const release = async (): Promise<void> => {
    durations.close()
    await rm(folder, { recursive: true, force: true })
  }
  try {
    const { token, entry } = createToken('demo', 'operator')
    await writeTokens(tokens, [entry])
    const options = { listen: ['127.0.0.1:0'], tokens, hosts: [] }
    const server = await startAdmin(gate, options, { durations, broker })
    return {
      url: `${server.urls[0]}/ui/#token=${token}`,
      close: async () => {
        await server.close()
        await release()
      },
    }
  } catch (error) {
    await release()
    throw error
  }
}
