import { describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import type { Decision } from '../../../src/core/decision.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import type { Sender } from '../../../src/core/message.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { refusalText, senderKind } from '../../../src/outcomes/refusal-text.ts'
import type { RefusalWords } from '../../../src/outcomes/rule-info.ts'
import { FakeClock } from '../../support/fake-clock.ts'

async function refusedBy(
  message: RefusalWords | undefined,
  sender: Sender = { client: 'c' },
): Promise<string> {
  const gate = new Gate({ clock: new FakeClock() }).use(
    limit({ name: 'telemetry', rate: '100/min burst 1', ...(message === undefined ? {} : { message }) }),
  )
  const sent = { topic: 't', on: 'publish', sender, size: 1 } as const
  await gate.check(sent)
  const decision = await gate.check(sent)
  return refusalText(decision, sender, gate.ruleOf('telemetry'))
}

describe('what a refused sender is told', () => {
  it.each<[string, Sender, string]>([
    [
      'user',
      { user: 'ada' },
      'Too many messages: 100 per 60 s are allowed. Try again in 600 ms; sending less often avoids this.',
    ],
    [
      'device',
      { device: 'd1', user: 'ada' },
      'rate limit exceeded: 100 messages per 60 s, 0 left; retry in 600 ms.',
    ],
    ['device', { client: 'c' }, 'rate limit exceeded: 100 messages per 60 s, 0 left; retry in 600 ms.'],
    [
      'api',
      { apiKey: 'secret', user: 'ada' },
      'Limit "telemetry" exceeded (rate limit exceeded): 100 messages per 60 s, 0 left, whole again in 600 ms. Retry in 600 ms, and slow down to the limit or ask for a higher one.',
    ],
    [
      'anonymous',
      { client: '', ip: '10.0.0.7' },
      'Too many messages from unknown senders. Try again in 600 ms, or sign in for a limit of your own.',
    ],
  ])('is by default a text for its kind: %s', async (kind, sender, expected) => {
    expect(senderKind(sender)).toBe(kind)
    expect(await refusedBy(undefined, sender)).toBe(expected)
  })

  it('is what the rule says: a text, a template, one for each kind, or a function', async () => {
    expect(await refusedBy('slow down')).toBe('slow down')
    expect(
      await refusedBy(
        '{client}: {limit}/{window}, {remaining} left, {retry} ({rule}, {unit}, {reset}, {reason})',
      ),
    ).toBe('c: 100/60 s, 0 left, 600 ms (telemetry, messages, 600 ms, rate limit exceeded)')
    expect(await refusedBy({ device: 'thing', user: 'person' })).toBe('thing')
    expect(await refusedBy({ user: 'person' })).toMatch(/^rate limit exceeded: 100/)
    expect(await refusedBy((decision, sender) => `${sender.client} ${decision.retryAfterMs}`)).toBe('c 600')
  })

  it('is the default where a function throws or answers no text', async () => {
    const broken = (): string => {
      throw new Error('no')
    }
    expect(await refusedBy(broken)).toMatch(/^rate limit exceeded/)
    expect(await refusedBy((() => 7) as unknown as () => string)).toMatch(/^rate limit exceeded/)
  })

  it('is one line of bounded length, whatever the sender is called', async () => {
    const text = await refusedBy('{client}', { client: `a\r\nb\0${'x'.repeat(5_000)}` })
    expect(text).toHaveLength(MAX_SIZES.keyPartChars)
    expect(text.startsWith('a  b x')).toBe(true)
    expect(await refusedBy(() => 'y'.repeat(5_000))).toHaveLength(MAX_SIZES.refusalChars)
  })

  it('tells nothing of the api key, and no rule where none refused', async () => {
    expect(await refusedBy(undefined, { apiKey: 'secret' })).not.toContain('secret')
    const away: Decision = {
      allowed: false,
      outcome: 'reject',
      reason: 'store_unavailable',
      retryAfterMs: 1_000,
    }
    expect(refusalText(away, {})).toBe('Refused (store unavailable). Try again in 1 s.')
    expect(refusalText({ ...away, retryAfterMs: Infinity }, {})).toMatch(/larger than the limit ever allows/)
  })

  it('is refused when the rule is made where it has a place that nothing fills', () => {
    const ruleWith = (message: unknown) => () =>
      limit({ name: 'r', rate: '1/s', message: message as RefusalWords })
    expect(ruleWith('in {retyr}')).toThrow(/message: \{retyr\} is not a placeholder of a refusal/)
    expect(ruleWith({ user: 'in {retyr}' })).toThrow(/message.user: \{retyr\}/)
    expect(ruleWith({ robot: 'stop' })).toThrow(/"robot" is not a kind of sender/)
    expect(ruleWith('a } b')).toThrow(/brace/)
  })
})
