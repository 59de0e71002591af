import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import { READY_POLICIES } from '../../src/cli/policy-files.ts'
import { Gate } from '../../src/gate.ts'
import type { Action, Message, Sender } from '../../src/message.ts'
import { packageFile } from '../../src/package-files.ts'
import { FakeClock } from '../support/fake-clock.ts'
import { type Random, random } from '../support/random.ts'

// After a change of the ready policies: TOPICGATE_OUTCOMES=write npx vitest run test/src/attack.test.ts

const PAGE = join(import.meta.dirname, '../../docs/policies.md')
const SECONDS = 10
const PER_SECOND = 1_000
const ACTIONS: readonly Action[] = ['publish', 'subscribe', 'connect']

/** Attackers, and what each of their messages comes from. */
const ATTACKERS: Readonly<Record<string, (n: number, random: Random) => Sender>> = {
  'one client': () => ({ client: 'c', ip: '192.0.2.1' }),
  'one IPv4 address': n => ({ client: `c${n}`, user: `u${n}`, ip: '192.0.2.1' }),
  'one IPv6 /64': (n, { int }) => ({
    client: `c${n}`,
    user: `u${n}`,
    ip: `2001:db8:0:1:${int(0, 65_535).toString(16)}:${int(0, 65_535).toString(16)}:0:${(n % 65_535).toString(16)}`,
  }),
}

const TOPICS: Readonly<Record<string, (n: number) => string>> = {
  fleet: n =>
    [`fleet/s${n}/d${n}/telemetry/t`, `fleet/s${n}/d${n}/event/alarm`, `fleet/s${n}/d${n}/event/e`, `x/${n}`][
      n % 4
    ]!,
  'api-style': n => [`api/v${n}/health`, `api/v1/op${n}`, `api/v1/write/${n}`, `x/${n}`][n % 4]!,
  'edge-gateway': n => [`up/s${n}/t`, `system/health/${n}`, `up/s${n}/image`, `x/${n}`][n % 4]!,
  'strict-ingest': n => [`ingest/s${n}/t`, `x/${n}`][n % 2]!,
}

interface Passed {
  readonly count: number
  readonly bytes: number
}

/** Floods a policy for ten seconds of virtual time with all that a sender can vary; counts what passes. */
async function attack(policy: string, attacker: string, action: Action): Promise<Passed> {
  const clock = new FakeClock(Date.UTC(2026, 0, 7, 12))
  const gate = await Gate.fromPolicy(packageFile(`config/${policy}.yaml`), { clock, env: {} })
  const chance = random(7)
  const senderOf = ATTACKERS[attacker]!
  let [count, bytes] = [0, 0]
  const fixed = attacker === 'one client' ? senderOf(0, chance) : undefined
  for (let second = 0; second < SECONDS; second++) {
    for (let n = 0; n < PER_SECOND; n++) {
      const id = second * PER_SECOND + n
      const priority = ['emergency', 'low', 'high'][id % 3]
      const message: Message = {
        topic: action === 'connect' ? '' : TOPICS[policy]!(id),
        on: action,
        sender: fixed ?? senderOf(id, chance),
        size: action === 'publish' ? [20, 2_000, 200_000][id % 3]! : 0,
        retain: id % 2 === 0,
        payload: () => ({ priority }),
      }
      const decision = gate.check(message)
      if (decision instanceof Promise) throw new Error('a local store answered with a promise')
      if (!decision.allowed) continue
      count++
      bytes += message.size
    }
    clock.advance(1_000)
  }
  await gate.close()
  return { count, bytes }
}

const sent = SECONDS * PER_SECOND
const passed = new Map<string, Passed>()

beforeAll(async () => {
  for (const policy of READY_POLICIES) {
    for (const attacker of Object.keys(ATTACKERS)) {
      for (const action of ACTIONS) {
        passed.set(`${policy} ${attacker} ${action}`, await attack(policy, attacker, action))
      }
    }
  }
}, 120_000)

describe.each(READY_POLICIES)('%s', policy => {
  const passedOf = (attacker: string, action: Action): Passed =>
    passed.get(`${policy} ${attacker} ${action}`)!

  it('bounds one client whatever it varies', () => {
    const { count, bytes } = passedOf('one client', 'publish')
    expect(count).toBeGreaterThan(0)
    expect(count).toBeLessThan(0.2 * sent)
    expect(bytes).toBeLessThan(120e6)
  })

  it('bounds one address whatever client ids it invents', () => {
    expect(passedOf('one IPv4 address', 'publish').bytes).toBeLessThan(1e9)
    for (const action of ['subscribe', 'connect'] as const) {
      expect(passedOf('one IPv4 address', action).count).toBeLessThan(0.5 * sent)
    }
  })

  it('bounds an IPv6 /64 as it bounds an IPv4 address', () => {
    for (const action of ACTIONS) {
      expect(passedOf('one IPv6 /64', action)).toEqual(passedOf('one IPv4 address', action))
    }
  })
})

it('docs/policies.md says what gets through', () => {
  const rows = READY_POLICIES.flatMap(policy =>
    Object.keys(ATTACKERS).map(attacker => {
      const cells = ACTIONS.map(action => passed.get(`${policy} ${attacker} ${action}`)!)
      const [publish] = cells
      const counts = cells.map(({ count }) => count.toLocaleString('en-US'))
      return `| ${policy} | ${attacker} | ${counts[0]} (${(publish!.bytes / 1e6).toFixed(1)} MB) | ${counts[1]} | ${counts[2]} |`
    }),
  )
  const table = [
    '| policy | attacker | publishes | subscribes | connects |',
    '|---|---|---|---|---|',
    ...rows,
  ].join('\n')
  const page = readFileSync(PAGE, 'utf8')
  const updated = page.replace(/(?<=<!-- attack -->\n)[\s\S]*?(?=\n<!-- end -->)/, table)
  if (process.env.TOPICGATE_OUTCOMES === 'write') writeFileSync(PAGE, updated)
  else expect(page).toBe(updated)
})
