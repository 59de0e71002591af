import type { Decision } from '../../core/decision.ts'
import type { LoadedPolicy } from '../../policy/index.ts'
import type { PolicyTestFile } from './load-test-file.ts'

/** Rules and exemptions of a policy, with those that no test decided by. */
export interface CoverageReport {
  /** Files of the policy. */
  readonly policy: readonly string[]
  readonly covered: number
  readonly total: number
  readonly rules: readonly string[]
  readonly exemptions: readonly string[]
}

interface PolicyNames {
  readonly files: readonly string[]
  readonly rules: Map<string, boolean>
  readonly exemptions: Map<string, boolean>
}

/**
 * Records which rules and exemptions decided a message in any test: a rule by refusing or degrading one, also in shadow,
 * an exemption by letting one pass.
 */
export class PolicyCoverage {
  readonly #policies = new Map<string, PolicyNames>()

  /** Returns the function that records the decisions of a file's tests. */
  recorderFor({ policy, rules, exemptions }: PolicyTestFile): (decision: Decision) => void {
    const key = policy.files.join('\n')
    const known = this.#policies.get(key) ?? {
      files: policy.files,
      rules: new Map(rules.filter(name => isWritten(name, policy)).map(name => [name, false])),
      exemptions: new Map(exemptions.map(name => [name, false])),
    }
    this.#policies.set(key, known)
    return ({ outcome, rule, exemption, shadow }) => {
      if (outcome !== 'deliver' && rule !== undefined) cover(known.rules, rule)
      if (exemption !== undefined) cover(known.exemptions, exemption)
      for (const name of shadow ?? []) cover(known.rules, name)
    }
  }

  reports(): readonly CoverageReport[] {
    return [...this.#policies.values()].map(({ files, rules, exemptions }) => {
      const total = rules.size + exemptions.size
      const uncovered = { rules: uncoveredIn(rules), exemptions: uncoveredIn(exemptions) }
      const covered = total - uncovered.rules.length - uncovered.exemptions.length
      return { policy: files, covered, total, ...uncovered }
    })
  }
}

/** Returns false for the built-in tiers that a policy does not mention. */
function isWritten(rule: string, { document }: LoadedPolicy): boolean {
  return !rule.startsWith('tier:') || Object.hasOwn(document.tiers ?? {}, rule.slice('tier:'.length))
}

function cover(names: Map<string, boolean>, name: string): void {
  if (names.has(name)) names.set(name, true)
}

function uncoveredIn(names: ReadonlyMap<string, boolean>): readonly string[] {
  return [...names].flatMap(([name, isCovered]) => (isCovered ? [] : [name]))
}
