import { beforeAll, expect, it } from 'vitest'
import { Folder } from '../src/cli/folder.ts'
import { promtool } from '../src/metrics/promtool.ts'
import { ensureBuilt } from '../support/built.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { logged, startCommand } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

it('a broker gives Prometheus what it decided, and its log a summary', async () => {
  using folder = new Folder()
  const policy = folder.file(
    'policy.yaml',
    'version: 1\nrules:\n  - { name: all, topic: t/#, per: client, limit: 5/day, exceeded: drop }\n',
  )
  await using broker = startCommand('broker', policy, '--port', '0', '--health', '0')
  const { port, msg } = await logged(broker, /ready/)
  const metricsUrl = String(msg).match(/http:\S+(?=\/ready)/)?.[0]
  await using client = await connectClient({ port: Number(port), clientId: 'busy' })
  for (let count = 0; count < 20; count++) await client.publish('t/1', 'x', { qos: 1 })

  const response = await fetch(`${metricsUrl}/metrics`)
  const text = await response.text()
  expect(promtool(['check', 'metrics'], text)).toEqual({ fine: true, said: '' })
  const lines = text.split('\n')
  expect(lines).toContain('topicgate_requests_total{rule="all",scope="client",tier=""} 20')
  expect(lines).toContain('topicgate_allowed_total{rule="all",scope="client",tier="",reason="ok"} 5')
  expect(lines).toContain(
    'topicgate_blocked_total{rule="all",scope="client",tier="",reason="rate_limit_exceeded"} 15',
  )
  expect(lines).toContain('topicgate_store_up{store="memory"} 1')
  expect(lines).toContain('topicgate_active_keys{store="memory"} 1')
  expect(lines).toContain('topicgate_guard_held_messages 0')
  expect(text).toMatch(/^topicgate_decision_duration_seconds_count [1-9]/m)
  expect(text).not.toContain('busy')

  broker.signal('SIGTERM')
  expect(await logged(broker, /analytics of the last hour/)).toMatchObject({
    blocked: 15,
    topBlocked: { clients: { error: 0, list: [{ name: 'busy', count: 15 }] } },
  })
  expect((await broker.ended).code).toBe(0)
})
