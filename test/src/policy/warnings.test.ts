import { describe, expect, it } from 'vitest'
import { READY_POLICIES } from '../../../src/cli/policy/resolve-policy-files.ts'
import { packageFile } from '../../../src/core/package-files.ts'
import { findPolicyWarnings, loadPolicy } from '../../../src/policy/index.ts'

async function warningsOf(document: object): Promise<string[]> {
  const loaded = await loadPolicy({ version: 1, ...document }, { env: {} })
  return findPolicyWarnings(loaded).map(({ path, message }) => `${path}: ${message}`)
}

const rule = (more: object): object => ({ rules: [{ name: 'a', limit: '10/s', ...more }] })
const client = { name: 'client', per: 'client', limit: '100/s' }

const CASES: readonly (readonly [title: string, document: object, warning: string])[] = [
  ['no rules', {}, ': the policy has no rules, so everything passes'],
  [
    'a cost above the burst',
    rule({ limit: '1/s burst 5', cost: 10 }),
    'rules[0]: nothing ever passes: each message costs at least 10, and the rule holds 5',
  ],
  [
    'wildcards of NATS under mqtt',
    rule({ topic: 'orders.*' }),
    'rules[0].topic: "orders.*" matches only itself: * and > are wildcards of NATS',
  ],
  [
    'a star as a level of MQTT',
    rule({ topic: 'a/*/b' }),
    'rules[0].topic: "a/*/b" matches only itself: * and > are wildcards of NATS',
  ],
  [
    'a topic of MQTT under nats',
    { dialect: 'nats', ...rule({ topic: 'a/b' }) },
    'rules[0].topic: "a/b" is written as a topic of MQTT',
  ],
  [
    'a device nobody names',
    rule({ per: 'device' }),
    'rules[0].per: no message has a device: nothing in the policy says where it comes from',
  ],
  ['a topic of a connect', rule({ on: 'connect', topic: 'a/b' }), 'rules[0].topic: a connect has no topic'],
  [
    'a topic of an accepted socket',
    rule({ on: 'accept', topic: 'a/b', per: 'ip' }),
    'rules[0].topic: an accepted socket has no topic',
  ],
  [
    'an accepted socket counted by client',
    rule({ on: 'accept', per: 'client' }),
    'rules[0].per: only the address of a socket is known when it is accepted',
  ],
  [
    'roles nobody has',
    { ...rule({ per: 'client' }), exempt: [{ roles: ['admin'] }] },
    'exempt[0].roles: matches no sender: nothing in the policy says where a role comes from',
  ],
  [
    'users on a connect',
    { ...rule({ per: 'client' }), exempt: [{ users: ['ann'], on: 'connect' }] },
    'exempt[0].on: matches no sender: on a connect, users, API keys and roles are not yet known',
  ],
  [
    'wills of subscribes',
    { rules: [client, { name: 'a', on: 'subscribe', limit: '1/s', when: { will: true } }] },
    'rules[1].when.will: never holds: a will is always published',
  ],
  [
    'wills of NATS',
    { dialect: 'nats', ...rule({ per: 'client', when: { will: true } }) },
    'rules[0].when.will: never holds: NATS has no wills',
  ],
  [
    'a payload of a connect',
    {
      rules: [{ name: 'a', per: 'ip', limit: '1/s' }],
      exempt: [{ ips: ['10.0.0.0/8'], on: 'connect', when: { size: { max: 5 } } }],
    },
    'exempt[0].when.size: a connect has no payload, size, QoS or retain flag',
  ],
  [
    'a rule for roles that nobody has',
    { rules: [client, { name: 'a', limit: '1/s', for: { roles: ['guest'] } }] },
    'rules[1].for.roles: matches no sender: nothing in the policy says where a role comes from',
  ],
  [
    'a rule for roles of connects, which say none',
    { rules: [{ name: 'a', on: 'connect', per: 'ip', limit: '1/s', for: { roles: ['guest'] } }] },
    'rules[0].for.roles: matches every sender, as a connect does not say: nothing in the policy says where a role comes from',
  ],
  [
    'a rule for no clients',
    { rules: [client, { name: 'a', limit: '1/s', for: { clients: [] } }] },
    'rules[1].for.clients: matches no sender: the list is empty',
  ],
  [
    'a rule for a tier that is none',
    { tiers: {}, rules: [client, { name: 'a', limit: '1/s', for: { tiers: ['free', 'gold'] } }] },
    'rules[1].for.tiers[1]: matches no sender: there is no tier "gold"',
  ],
  [
    'a rule for devices that senders choose',
    {
      senders: { device: '{topic.device}' },
      rules: [{ name: 'a', topic: 'a/{device}', per: 'client', limit: '1/s', for: { devices: ['d'] } }],
    },
    'rules[0].per: a sender that varies device is never limited',
  ],
  [
    'a limit whose backstop is for other senders',
    {
      rules: [
        { name: 'a', topic: 'a/{site}/#', per: 'site', limit: '1/s' },
        { name: 'b', per: 'client', limit: '1/s', for: { clients: ['c'] } },
      ],
    },
    'rules[0].per: a sender that varies site is never limited',
  ],
  [
    'a limit whose only neighbour counts nothing',
    {
      rules: [
        { name: 'a', topic: 'a/{site}/#', per: 'site', limit: '1/s' },
        { name: 'b', maxSize: '1kB' },
      ],
    },
    'rules[0].per: a sender that varies site is never limited',
  ],
  [
    'a limit whose backstop is for other messages',
    {
      rules: [
        { name: 'a', topic: 'a/{site}/#', per: 'site', limit: '1/s' },
        { name: 'b', per: 'client', limit: '1/s', when: { retain: true } },
      ],
    },
    'rules[0].per: a sender that varies site is never limited',
  ],
  [
    'a quota that throttles',
    { rules: [{ name: 'a', per: 'client', quota: '10/day', exceeded: 'throttle' }] },
    'rules[0].exceeded: a quota that throttles holds senders for hours',
  ],
  [
    'a limit that a sender escapes',
    rule({ topic: 'a/{site}/#', per: 'site' }),
    'rules[0].per: a sender that varies site is never limited',
  ],
  [
    'a device that the topic names',
    { senders: { device: '{topic.device}' }, ...rule({ topic: 'a/{device}', per: 'device' }) },
    'rules[0].per: a sender that varies device is never limited',
  ],
  [
    'an exemption by topic without bound',
    { rules: [client], exempt: [{ topics: ['alarms/#'] }] },
    'exempt[0]: every client that sends this passes all rules without a limit',
  ],
  [
    'an exemption bounded by what the sender writes',
    { rules: [client], exempt: [{ topics: ['alarms/#'], limit: '5/min per topic' }] },
    'exempt[0].limit: a sender that varies topic is never limited',
  ],
  [
    'a rule that an exemption hides',
    {
      rules: [client, { name: 'b', topic: 'a/b/+', per: 'client', limit: '1/s' }],
      exempt: [{ topics: ['a/#'] }],
    },
    'rules[1]: an exemption lets every message of this rule pass',
  ],
]

describe('a warning is given for', () => {
  it.each(CASES)('%s', async (_title, document, warning) => {
    expect(await warningsOf(document)).toContain(warning)
  })
})

describe('no warning is given for', () => {
  it.each([
    [
      'a limit with a backstop',
      { rules: [client, { name: 'b', topic: 'a/{site}/#', per: 'site', limit: '1/s' }] },
    ],
    [
      'a capture that names the device',
      { rules: [client, { name: 'b', topic: 'a/{device}', per: 'device', limit: '1/s' }] },
    ],
    ['a bounded exemption', { rules: [client], exempt: [{ topics: ['a/#'], limit: '1/s per client' }] }],
    ['the housekeeping of the broker', { rules: [client], exempt: [{ topics: ['$SYS/#'] }] }],
    ['the first identity that is known', rule({ per: 'user|ip' })],
    ['a secret', rule({ per: 'client', when: { header: { name: 'x-api-key', secret: 'k1' } } })],
    ['a header that only exists', rule({ per: 'client', when: { header: { name: 'token', exists: true } } })],
    ['a plain header', rule({ per: 'client', when: { header: { name: 'x-priority', equals: 'high' } } })],
    [
      'a disabled rule',
      { rules: [client, { name: 'b', topic: 'a/{site}', per: 'site', limit: '1/s', enabled: false }] },
    ],
  ])('%s', async (_title, document) => {
    expect(await warningsOf(document)).toEqual([])
  })

  it.each(READY_POLICIES)('the ready policy %s', async name => {
    const loaded = await loadPolicy(packageFile(`config/${name}.yaml`), { env: {} })
    expect(findPolicyWarnings(loaded)).toEqual([])
  })
})
