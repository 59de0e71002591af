import { stringify } from 'yaml'
import { findUnsupported as findAedesFlaws } from '../../../brokers/aedes/capabilities.ts'
import { findUnsupported as findMqttFlaws } from '../../../brokers/mqtt/capabilities.ts'
import { findUnsupported as findNatsFlaws, NATS_CAPABILITIES } from '../../../brokers/nats/capabilities.ts'
import { formatProblem, PolicyError, type Problem, withoutControls } from '../../core/errors.ts'
import { Gate, MemoryStore } from '../../index.ts'
import { findPolicyWarnings, type LoadedPolicy, policyJsonSchema, redact } from '../../policy/index.ts'
import { EXIT } from '../terminal/command-error.ts'
import { formatNumberOf } from '../terminal/format.ts'
import { paintFor, type Terminal, write } from '../terminal/terminal.ts'
import { loadNamedPolicy } from './load-named-policy.ts'
import { requirePolicyFiles } from './resolve-policy-files.ts'

/** Place where a policy is used; each enacts different outcomes. */
export type PolicyTarget = 'aedes' | 'mqtt' | 'nats'

export interface ValidateOptions {
  /** Policy files that override each other; `-` is the standard input. */
  readonly policy: readonly string[]
  readonly json: boolean
  /** Prints the JSON Schema of the policy file instead. */
  readonly schema: boolean
  /** Prints the merged policy without its secrets. */
  readonly print: boolean
  /** Exit code 1 for warnings, too. */
  readonly strict: boolean
  /** Checks each file as a policy of its own. */
  readonly each: boolean
  /** Also reports outcomes that this broker or consumer cannot enact. */
  readonly target?: PolicyTarget | undefined
}

/** Validates a policy and prints every problem and warning. Exit code 1 for a problem, or with `strict` a warning. */
export async function validate(options: ValidateOptions, terminal: Terminal): Promise<number> {
  if (options.schema) {
    await write(terminal.stdout, toJson(policyJsonSchema()))
    return EXIT.fine
  }
  const named = requirePolicyFiles(options.policy, terminal.env, 'validate policy.yaml')
  const policies = options.each ? named.map(file => [file]) : [named]
  const documents: unknown[] = []
  let exitCode: number = EXIT.fine
  for (const files of policies) {
    const { code, document } = await validateOne(files, options, terminal)
    if (code !== EXIT.fine) exitCode = code
    documents.push(document)
  }
  if (options.json) await write(terminal.stdout, toJson(options.each ? documents : documents[0]))
  return exitCode
}

interface Validation {
  readonly code: number
  /** What `json` prints. */
  readonly document: unknown
}

async function validateOne(
  named: readonly string[],
  options: ValidateOptions,
  terminal: Terminal,
): Promise<Validation> {
  const { stdout, stderr, env } = terminal
  try {
    const { loaded, files } = await loadNamedPolicy(named, terminal)
    const { document } = loaded
    const warnings = [...findPolicyWarnings(loaded), ...(await findUnsupported(loaded, options.target))]
    const [rules, exemptions] = [document.rules?.length ?? 0, document.exempt?.length ?? 0]
    const shown = options.print ? redact(document) : undefined
    if (shown !== undefined && !options.json) await write(stdout, stringify(shown))
    // A program may parse the printed policy, so the result goes to the other output.
    const output = options.print ? stderr : stdout
    const paint = paintFor(output, env)
    const counts = [formatNumberOf(rules, 'rule'), formatNumberOf(exemptions, 'exemption')]
    if (warnings.length > 0) counts.push(formatNumberOf(warnings.length, 'warning'))
    const overlaid = files.length > 1 ? ' (the later file is laid over the earlier; --each checks each)' : ''
    if (!options.json) {
      const line = `${paint('green', 'ok')} ${files.map(withoutControls).join(' + ')}: ${counts.join(', ')}${overlaid}\n`
      await write(output, line)
      for (const warning of warnings) {
        await write(stderr, `${paint('yellow', 'warning')} ${formatProblem(warning)}\n`)
      }
    }
    return {
      code: options.strict && warnings.length > 0 ? EXIT.failed : EXIT.fine,
      document: shown ?? { ok: true, files, rules, exemptions, problems: [], warnings },
    }
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
    if (!options.json)
      await write(stderr, error.problems.map(problem => `${formatProblem(problem)}\n`).join(''))
    return {
      code: EXIT.failed,
      document: { ok: false, files: named, problems: error.problems, warnings: [] },
    }
  }
}

/** Returns outcomes that a broker or consumer cannot enact, as warnings. */
async function findUnsupported(loaded: LoadedPolicy, target: PolicyTarget | undefined): Promise<Problem[]> {
  if (target === undefined) return []
  const gate = await Gate.fromPolicy(loaded.document, { store: new MemoryStore() })
  try {
    const flaws =
      target === 'aedes'
        ? findAedesFlaws(gate)
        : target === 'mqtt'
          ? findMqttFlaws(gate, true)
          : findNatsFlaws(gate, NATS_CAPABILITIES)
    const file = loaded.files.at(-1)
    return flaws.map(message => (file === undefined ? { message } : { file, message }))
  } finally {
    await gate.close()
  }
}

function toJson(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`
}
