import { readdirSync, readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { parse } from 'yaml'
import { policyJsonSchema } from '../../../src/policy/index.ts'
import { BLOCKS, placeOf } from '../../docs/pages.ts'

interface Validator {
  (value: unknown): boolean
  readonly errors?: readonly { readonly instancePath: string; readonly message?: string }[] | null
}
interface AjvModule {
  readonly default: new (options: object) => { compile(schema: object): Validator }
}

const { default: Ajv } = (await import('ajv/dist/2020.js' as string)) as AjvModule
const validate = new Ajv({ strict: true, allErrors: true }).compile(policyJsonSchema())
const ROOT = new URL('../../../', import.meta.url).pathname
const BROKEN = `${ROOT}test/src/policy/broken/`

/** What the schema finds wrong, each with its path. */
function flawsOf(value: unknown): readonly string[] {
  return validate(value) ? [] : (validate.errors ?? []).map(each => `${each.instancePath}: ${each.message}`)
}

describe('the JSON Schema of policies', () => {
  it('has an identity of its own', () => {
    expect(policyJsonSchema()).toMatchObject({ $id: 'urn:topicgate:policy:1' })
  })

  it.each(readdirSync(`${ROOT}config`).filter(name => name.endsWith('.yaml')))('takes config/%s', name => {
    expect(flawsOf(parse(readFileSync(`${ROOT}config/${name}`, 'utf8')))).toEqual([])
  })

  const policies = BLOCKS.filter(
    ({ page, language, text, words }) =>
      language === 'yaml' &&
      !words.some(word => /^broken\.yaml$|\.overlay\.yaml$/.test(word)) &&
      page.startsWith('docs/') &&
      /^(?:version|rules|exempt|tiers|senders|adaptive|store|penalties|behaviour|feedback|breaker):/m.test(
        text,
      ),
  )
  it('meets policies in the docs', () => {
    expect(policies.length).toBeGreaterThan(25)
  })
  it.each(policies.map(block => [placeOf(block), block.text] as const))(
    'takes the policy of %s',
    (_, text) => {
      expect(flawsOf(parse(text))).toEqual([])
    },
  )

  it.each([
    ...[
      'limit-unit',
      'limit-comma',
      'limit-noun',
      'limit-bits',
      'limit-fraction',
      'limit-object',
      'limit-number',
    ],
    ...['quota-from', 'tiers-limit', 'exceeded-duration', 'per-comma', 'per-space-in-list', 'topic-wildcard'],
    ...['topic-capture', 'topic-list', 'cost-bytes', 'cost-min', 'held-words', 'warn-share', 'on', 'version'],
  ])('refuses broken/%s.yaml', name => {
    expect(flawsOf(parse(readFileSync(`${BROKEN}${name}.yaml`, 'utf8')))).not.toEqual([])
  })
})

describe('patterns of the JSON Schema', () => {
  const rule = (word: string, value: unknown): readonly string[] =>
    flawsOf({
      rules: [{ name: 'a', limit: '1/s', ...(word === 'quota' && { limit: undefined }), [word]: value }],
    })

  it.each([
    ...['10/s', '10 / s', '100 per minute', '5 per 5 minutes', '1MB/s', '64KiB/s burst 256KiB', 'unlimited'],
    ...['1.5kB/s', '10/s burst 20', '10000/DAY', ' 3/week ', '1 per 1.5s', '10per second', '5 bytes/s'],
    ...[`\${RATE}`, `\${RATE:-10/s}`, `\${N:-5}/s`],
  ])('take the rate %j', text => expect(rule('limit', text)).toEqual([]))
  it.each([
    '',
    '0/s',
    '10',
    '10/',
    '/s',
    '0.5/s',
    '10/M',
    '10/s bursts 5',
    '10/s burst',
    '-1/s',
    '1e3/s',
    '10/s from day 3',
  ])('refuse the rate %j', text => expect(rule('limit', text)).not.toEqual([]))
  it.each([
    '10/month',
    '10/month from day 31',
    '1GB/month from day 1',
    '5/week from Sunday',
    '5/week from mon',
  ])('take the quota %j', text => expect(flawsOf({ rules: [{ name: 'a', quota: text }] })).toEqual([]))
  it.each(['10/month from day 32', '10/month from day 0', '10/week from someday', '10/month from 3'])(
    'refuse the quota %j',
    text => expect(flawsOf({ rules: [{ name: 'a', quota: text }] })).not.toEqual([]),
  )
  it.each(['30s', '250ms', '5 minutes', '1.5h', '7d'])('take the duration %j', block =>
    expect(flawsOf({ penalties: { block } })).toEqual([]),
  )
  it.each(['30', '0s', 's', 'soon', '30 fortnights', '-5s'])('refuse the duration %j', block =>
    expect(flawsOf({ penalties: { block } })).not.toEqual([]),
  )
  it.each([
    'global',
    'ip',
    'ip/24',
    'ip/24/56',
    'user|ip',
    'header.x-tenant',
    'header.x tenant',
    'site',
    'a|b|ip/24',
  ])('take the scope %j', scope => {
    expect(rule('per', scope)).toEqual([])
    expect(rule('per', [scope, 'client'])).toEqual([])
  })
  it.each([
    '',
    'site, device',
    'device topic',
    'ip/',
    'ip/24/',
    'user|',
    '|ip',
    'header.',
    '{site}',
    'ip/24/56/7',
  ])('refuse the scope %j', scope => expect(rule('per', scope)).not.toEqual([]))
  it.each(['#', '+/a/#', '$SYS/#', 'a/{b}/#', 'a.*.>', '$share/g/a/#', 'a b/ü'])('take the topic %j', topic =>
    expect(rule('topic', topic)).toEqual([]),
  )
  it.each(['', 'a/#/b', 'a/{b/c', 'a/b}', 'a/{1b}', 'a/{}'])('refuse the topic %j', topic =>
    expect(rule('topic', topic)).not.toEqual([]),
  )
})
