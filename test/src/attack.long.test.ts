import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { beforeAll, describe, expect, it } from 'vitest'
import {
  ATTACK_OPERATIONS,
  type AttackerName,
  type AttackSimulationReport,
  formatMegabytes,
  type PassedTraffic,
  simulateAttacksOnPolicy,
} from '../../src/cli/demo/attack-simulation.ts'
import { READY_POLICIES } from '../../src/cli/policy/resolve-policy-files.ts'
import { packageFile } from '../../src/core/package-files.ts'

// After a change of the ready policies: TOPICGATE_OUTCOMES=write npx vitest run --project long attack

const PAGE = join(import.meta.dirname, '../../docs/policies.md')
const reports = new Map<string, AttackSimulationReport>()

beforeAll(async () => {
  for (const policy of READY_POLICIES) {
    reports.set(policy, await simulateAttacksOnPolicy([packageFile(`config/${policy}.yaml`)], {}))
  }
}, 600_000)

describe.each(READY_POLICIES)('%s', policy => {
  const passedOf = (attacker: AttackerName, action: (typeof ATTACK_OPERATIONS)[number]): PassedTraffic =>
    reports.get(policy)!.attackers.find(result => result.attacker === attacker)!.passed[action]
  const sent = 10_000

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
    for (const action of ATTACK_OPERATIONS) {
      expect(passedOf('one IPv6 /64', action)).toEqual(passedOf('one IPv4 address', action))
    }
  })
})

it('docs/policies.md says what gets through', () => {
  const rows = READY_POLICIES.flatMap(policy =>
    reports.get(policy)!.attackers.map(({ attacker, passed: { publish, subscribe, connect } }) => {
      const counts = [publish, subscribe, connect].map(({ count }) => count.toLocaleString('en-US'))
      return `| ${policy} | ${attacker} | ${counts[0]} (${formatMegabytes(publish.bytes)}) | ${counts[1]} | ${counts[2]} |`
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
