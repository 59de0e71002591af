import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { beforeAll, expect, it } from 'vitest'
import type { ServerCheck } from '../../src/admin/index.ts'
import { runCommand } from '../src/cli/fake-terminal.ts'
import { Folder } from '../src/cli/folder.ts'
import { CLI, ensureBuilt } from '../support/built.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { startNode } from '../support/program.ts'
import { makeCertificate } from '../support/tls.ts'
import { logged } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

const RULES = 'rules: [{ name: all, topic: t/#, per: client, limit: 5/day }]'

/** Starts a receiver of alerts that answers with what the test sets. */
async function startReceiver(): Promise<{ url: string; status: number; tests: number; close(): void }> {
  const receiver = { url: '', status: 500, tests: 0, close: () => void server.close() }
  const server = createServer((request, response) => {
    if (String(request.headers['topicgate-delivery']).startsWith('test-')) receiver.tests++
    response.writeHead(receiver.status).end()
    request.resume()
  })
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  receiver.url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`
  return receiver
}

it('doctor finds a certificate that expires, a proxy without header and a webhook that refuses', async () => {
  using folder = new Folder()
  const receiver = await startReceiver()
  const { certFile, keyFile } = await makeCertificate(folder.path)
  const socket = `unix:${join(folder.path, 'admin.sock')}`
  await using broker = startNode(
    [
      ...[CLI, 'broker', folder.file('policy.yaml', RULES), '--port', '0', '--tls', '0', '--admin', socket],
      ...['--tls-cert', certFile, '--tls-key', keyFile, '--trust-proxy', '127.0.0.1', '--proxy-protocol'],
      ...['--alerts-webhook', receiver.url, '--analytics-store', 'none'],
    ],
    { timeoutMs: 60_000, env: { TOPICGATE_ALERTS_SECRET: 's' } },
  )
  const port = Number((await logged(broker, /ready/)).port)
  const runDoctor = async (): Promise<{ exitCode: number; checks: readonly ServerCheck[] }> => {
    const { exitCode, out } = await runCommand(['doctor', '--json', '--to', socket])
    return { exitCode, checks: (JSON.parse(out) as { checks: readonly ServerCheck[] }).checks }
  }
  const find = (checks: readonly ServerCheck[], name: string): readonly string[] =>
    checks.filter(check => check.name === name).map(({ result }) => result)

  const before = await runDoctor()
  expect([before.exitCode, find(before.checks, 'webhook')]).toEqual([1, ['failed']])
  expect(find(before.checks, 'certificate')).toEqual(['warning'])
  expect(find(before.checks, 'PROXY header')).toEqual(['ok'])
  expect(find(before.checks, 'port')).toEqual(['ok', 'ok'])
  expect(find(before.checks, 'file descriptors')).toEqual(['ok'])

  receiver.status = 204
  await using client = await connectClient({ port, clientId: 'c' })
  expect(client.client.connected).toBe(true)
  const after = await runDoctor()
  expect([after.exitCode, find(after.checks, 'webhook')]).toEqual([0, ['ok']])
  expect(find(after.checks, 'PROXY header')).toEqual(['warning'])
  expect(receiver.tests).toBe(2)
  receiver.close()
  broker.signal('SIGTERM')
  await broker.ended
})
