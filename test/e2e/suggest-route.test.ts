import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { beforeAll, expect, it } from 'vitest'
import type { Suggestion } from '../../src/admin/index.ts'
import { suggestionSchema } from '../../src/admin/schemas/suggest.ts'
import { blocksOf } from '../docs/pages.ts'
import { type Answer, send } from '../src/admin/admin-scene.ts'
import { runCommand } from '../src/cli/fake-terminal.ts'
import { Folder } from '../src/cli/folder.ts'
import { CLI, ensureBuilt } from '../support/built.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { startNode } from '../support/program.ts'
import { until } from '../support/wait.ts'
import { logged } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

const DEVICES = ['d1', 'd2', 'd3']

/** The part of a suggested rule that the documentation shows. */
const SHOWN = {
  name: 'fleet',
  limit: expect.stringMatching(/^\d+\/\w+ burst \d+$/),
  basis: [
    expect.stringMatching(/^[\d,]+ messages, \d+ keys by device: median \S+, p99\.9 \S+\.$/),
    expect.stringMatching(/^Bursts at \S+: median \d+, .* Headroom: rate × 1\.5, burst × 1\.25\.$/),
    expect.stringMatching(/^Confidence: low \(.*less than 24 hours\)\.$/),
  ],
  outliers: expect.any(Array),
}

it('answers what the documentation shows', () => {
  const answer = blocksOf('docs/rollout.md').find(({ language }) => language === 'json')
  const shown = JSON.parse(answer!.text) as Suggestion['rules'][number]
  expect(shown).toEqual(SHOWN)
  const { outliers } = suggestionSchema.shape.rules.element.shape
  expect(outliers.parse(shown.outliers)).toEqual(shown.outliers)
})

it('suggests limits from the messages of a running broker, and says why it cannot', async () => {
  using folder = new Folder()
  const socketPath = join(folder.path, 'admin.sock')
  const policy = folder.file('policy.yaml', 'rules: [{ name: all, per: client, limit: 1000/s }]')
  await using broker = startNode(
    [CLI, 'broker', policy, '--port', '0', '--admin', `unix:${socketPath}`, '--analytics-store', 'none'],
    { timeoutMs: 60_000 },
  )
  const port = Number((await logged(broker, /ready/)).port)
  const call = (path: string, method = 'GET', body?: object): Promise<Answer> =>
    send({ socketPath, path: `/api/v1${path}` }, method, { body })
  const suggest = (query: Readonly<Record<string, string>>): Promise<Answer> =>
    call(`/suggest?${new URLSearchParams({ for: '60s', reason: 'first limits', ...query })}`)
  let suggestions = 0
  /** Asks for a suggestion, and publishes once its messages are recorded. */
  const suggestFrom = async (rounds: number, query: Readonly<Record<string, string>>): Promise<Answer> => {
    const answering = suggest({ max: String(rounds * DEVICES.length), ...query })
    suggestions++
    await until(async () => {
      const { text } = await call('/audit')
      return text.split('"action":"started"').length - 1 === suggestions
    })
    for (let round = 0; round < rounds; round++) {
      await Promise.all(
        clients.map((client, index) => client.publish(`fleet/a/${DEVICES[index]}/t`, 'x', { qos: 1 })),
      )
      await sleep(5)
    }
    return answering
  }
  await using first = await connectClient({ port, clientId: 'd1' })
  await using second = await connectClient({ port, clientId: 'd2' })
  await using third = await connectClient({ port, clientId: 'd3' })
  const clients = [first, second, third]

  const topic = 'fleet/{site}/{device}/#'
  const { status, body } = await suggestFrom(20, { topic, per: 'device' })
  const { messages, dialect, rules, verification, policy: text } = body as Suggestion
  expect([status, messages, dialect]).toEqual([200, 60, 'mqtt'])
  expect(rules).toMatchObject([{ name: 'fleet', on: 'publish', topic, per: 'device', keys: 3 }])
  expect(rules[0]!.doubts).toEqual(['only 3 senders', 'less than 24 hours'])
  expect(rules[0]).toMatchObject(SHOWN)
  const { name, basis, fields, limit } = rules[0]!
  expect(basis[2]).toBe('Confidence: low (only 3 senders, less than 24 hours).')
  expect(fields).toEqual({ topic, per: 'device', limit, exceeded: 'drop', shadow: true })
  expect((await call(`/rules/${name}`, 'POST', { ...fields, reason: 'first limits' })).status).toBe(200)
  expect((await call(`/rules/${name}`)).body).toMatchObject({ observed: true, pattern: topic })
  expect(verification.text).toEqual([
    expect.stringMatching(/^Replay of the last 30 %: ordinary senders lose /),
  ])
  const verified = verification.ordinary.messages + verification.outliers.messages
  expect(rules[0]!.messages + verified).toBe(60)
  expect(text).toMatch(/^# Suggested by topicgate from node \S+: 60 messages\n/)
  expect(text).toContain('shadow: true')
  const validated = await runCommand(['validate', folder.file('suggested.yaml', text)])
  expect([validated.exitCode, validated.err]).toEqual([0, ''])

  // Refused before there is a message.
  const unknown = await suggest({ topic, per: 'tenant' })
  expect([unknown.status, unknown.body]).toMatchObject([
    422,
    { detail: expect.stringMatching(/^per tenant: .* has no such capture \(use client, .*, site\)$/) },
  ])
  const invalid = await suggest({ topic: 'fleet/#/t' })
  expect([invalid.status, invalid.body]).toMatchObject([
    422,
    { detail: expect.stringMatching(/^topic: "fleet\/#\/t": # must be the last character \(use /) },
  ])
  suggestions += 2
  const short = await suggestFrom(1, { max: '1' })
  expect([short.status, short.body]).toMatchObject([
    409,
    {
      detail: expect.stringMatching(
        /^node \S+: all messages have the same time \(record a longer capture\)$/,
      ),
    },
  ])
})
