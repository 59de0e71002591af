import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { limit } from '../../../src/chain/rules/create-limit-middleware.ts'
import type { Decision } from '../../../src/core/decision.ts'
import { PolicyError } from '../../../src/core/errors.ts'
import type { Dialect, Message } from '../../../src/core/message.ts'
import { Gate } from '../../../src/gate/gate.ts'
import { compileRedirect, redirectHeaders, redirectTopic } from '../../../src/outcomes/redirect.ts'
import { validTopic } from '../../../src/topic/pattern.ts'

const refusal: Decision = {
  ...{ allowed: false, outcome: 'redirect', reason: 'rate_limit_exceeded' },
  ...{ rule: 'per/site', retryAfterMs: 100 },
}
const message = (topic: string, more: Partial<Message> = {}): Message => ({
  ...{ topic, on: 'publish', sender: { client: 'c1' }, size: 1 },
  ...more,
})
const plan = (to?: string, dialect: Dialect = 'mqtt') =>
  compileRedirect(to === undefined ? {} : { to }, dialect, 'to')

describe('the topic of what is redirected', () => {
  it.each([
    [undefined, 'a/b', 'dead/a/b'],
    ['dead/{topic}', 'a//b/', 'dead/a//b/'],
    ['{topic}/late', 'a/b', 'a/b/late'],
    ['dead/{rule}/{client}', 'a/b', 'dead/per_site/c1'],
    ['trash', 'a', 'trash'],
  ])('%s makes of %s: %s', (to, topic, expected) => {
    expect(redirectTopic(plan(to), message(topic), refusal)).toBe(expected)
  })

  it('is one of NATS where the rule is, with a token for each place', () => {
    const to = plan('dead.{client}.{topic}', 'nats')
    const odd = message('a.b', { sender: { client: 'x.*.> y' } })
    expect(redirectTopic(to, odd, refusal)).toBe('dead.x_____y.a.b')
    expect(redirectTopic(plan(undefined, 'nats'), message('a.b'), refusal)).toBe('dead.a.b')
  })

  it('takes captures of the rule', () => {
    const gate = new Gate().use(
      'fleet/{site}/#',
      limit({ name: 'r', rate: '1/s', exceeded: { redirect: { to: 'dead/{site}' } } }),
    )
    const facts = gate.ruleOf('r')!
    const sent = message('fleet/berlin/x')
    expect(redirectTopic(facts.exceeded.redirect!, sent, refusal, facts.capturesOf(sent.topic))).toBe(
      'dead/berlin',
    )
    const unknown = limit({ name: 'r', rate: '1/s', exceeded: { redirect: { to: 'dead/{site}' } } })
    expect(() => new Gate().use('a/#', unknown)).toThrow(/\{site\} is not a capture of the rule's topic/)
  })

  it('is none for what was redirected before, by its header or its topic', () => {
    const to = plan('dead/{topic}')
    const again = redirectHeaders(to, message('a/b'), refusal)
    expect(redirectTopic(to, message('elsewhere', { headers: again }), refusal)).toBeUndefined()
    expect(redirectTopic(to, message('dead/a/b'), refusal)).toBeUndefined()
    expect(redirectTopic(plan('trash'), message('trash'), refusal)).toBeUndefined()
    expect(redirectTopic(plan('trash'), message('trash/x'), refusal)).toBe('trash')
    expect(redirectTopic(plan('{topic}/late'), message('a/late'), refusal)).toBeUndefined()
  })

  it('is always one a message may carry, whatever senders are called, and never redirected twice', () => {
    const word = fc.oneof(fc.string(), fc.constantFrom('#', '+', '$SYS', 'a/b', '\0', '*', '>', '.', ''))
    fc.assert(
      fc.property(word, word, fc.constantFrom<Dialect>('mqtt', 'nats'), (topic, client, dialect) => {
        for (const to of [undefined, '{client}{rule}x', '{topic}x{client}']) {
          const compiled = plan(to, dialect)
          const sent = message(topic, { sender: { client } })
          const found = redirectTopic(compiled, sent, refusal)
          if (found === undefined) continue
          expect(validTopic(found, dialect)).toBe(true)
          expect(found.startsWith('$')).toBe(false)
          if (dialect === 'nats') expect(found.split('.').some(t => t === '*' || t === '>')).toBe(false)
          const headers = redirectHeaders(compiled, sent, refusal)
          expect(redirectTopic(compiled, message(found, { headers }), refusal)).toBeUndefined()
          for (const value of Object.values(headers)) expect(value).not.toMatch(/[\r\n\0]/)
        }
      }),
      { seed: 20_262, numRuns: 500 },
    )
  })

  it('is refused when it can never be one, or is the same one again', () => {
    for (const to of ['a/#', 'a/+/b', '{topic}', '', 'dead/{topic', 'dead/{}']) {
      expect(() => plan(to), to).toThrow(PolicyError)
    }
    expect(() => plan('dead.>', 'nats')).toThrow(/not a topic that a message can be sent to/)
  })
})

describe('the headers of what is redirected', () => {
  it('tell from where, why, by which rule and by whom', () => {
    expect(redirectHeaders(plan(), message('a/b'), refusal)).toEqual({
      'topicgate-redirected-from': 'a/b',
      'topicgate-reason': 'rate_limit_exceeded',
      'topicgate-rule': 'per/site',
      'topicgate-client': 'c1',
    })
  })
  it('only mark it where no more is wanted', () => {
    const quiet = compileRedirect({ headers: false }, 'mqtt', 'to')
    expect(Object.keys(redirectHeaders(quiet, message('a/b'), refusal))).toEqual([
      'topicgate-redirected-from',
    ])
  })
})
