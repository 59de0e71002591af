import { describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { runCommand } from '../src/cli/fake-terminal.ts'
import { Folder } from '../src/cli/folder.ts'
import { historiesOf, NAMES, SEEDS, seedsOf } from './agree.ts'
import { GateModel } from './gate-model.ts'
import { type History, describe as inWords } from './history.ts'
import type { MessageWords } from './policy.ts'

/** Features that need an operator, or a load that is measured: a capture has neither. */
const OF_A_RUNNING_GATE = [
  ...[
    'tiers given',
    'run-time exemptions',
    'override by a factor',
    'override by a rate',
    'override unlimited',
  ],
  ...['bans', 'adaptive', 'reload', 'reset', 'peek'],
]
const PLAYED = NAMES.filter(name => !OF_A_RUNNING_GATE.includes(name))

describe('every pair of features through replay', () => {
  it.each(seedsOf(1, SEEDS / 5))('decides as the model, seed %i', { timeout: 600_000 }, async seed => {
    for (const history of historiesOf(seed, PLAYED)) await replay(history)
  })
})

interface Line {
  readonly atMs: number
  readonly message: MessageWords
}

async function replay(history: History): Promise<void> {
  using folder = new Folder()
  const lines = linesOf(history)
  const policy = folder.file('policy.yaml', stringify(history.policy))
  const capture = folder.file('capture.jsonl', lines.map(textOf).join('\n'))
  const { exitCode, out, err } = await runCommand([
    'replay',
    policy,
    capture,
    '--json',
    '--allow-out-of-order',
  ])
  expect(exitCode).toBe(0)
  // Lines that are out of order are counted there.
  expect(err).toMatch(/^(\d+ lines? .* out of order.*\n)?$/)
  const model = new GateModel(history.policy)
  const expected = lines.map(({ atMs, message }) => {
    const decision = model.check(message, atMs)
    const { allowed, outcome, reason, rule, limit, remaining, retryAfterMs, shadow } = decision
    return inWords({
      ...{ at: atMs, topic: message.topic, allowed, outcome, reason },
      ...{ rule: rule ?? null, limit: limit ?? null, remaining: remaining ?? null },
      retryAfterMs: Number.isFinite(retryAfterMs) ? retryAfterMs : null,
      ...(shadow && { shadow }),
    })
  })
  const got = out
    .trimEnd()
    .split('\n')
    .map(line => inWords(JSON.parse(line)))
  const index = expected.findIndex((line, place) => line !== got[place])
  if (index < 0) return
  const shown = lines.slice(0, index + 1).map(textOf)
  const words = [stringify(history.policy), ...shown, `model  ${expected[index]}`, `replay ${got[index]}`]
  expect.fail(words.join('\n'))
}

/** The messages of a history at the moments a model of it gives them. */
function linesOf({ policy, startMs, events }: History): readonly Line[] {
  const model = new GateModel(policy)
  let atMs = startMs
  let last: { readonly retryAfterMs: number; readonly resetMs?: number } | undefined
  return events.flatMap(event => {
    if (event.do !== 'check') return []
    const { after, message } = event
    const waitMs =
      typeof after === 'number' ? after : after.endsWith('retry') ? last?.retryAfterMs : last?.resetMs
    atMs += Number.isFinite(waitMs) ? waitMs! : 0
    last = model.check(message, atMs)
    return [{ atMs, message }]
  })
}

function textOf({ atMs, message }: Line): string {
  const { sender, ...rest } = message
  return JSON.stringify({ at: atMs, ...sender, ...rest })
}
