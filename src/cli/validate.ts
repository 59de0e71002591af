import { stringify } from 'yaml'
import { formatProblem, PolicyError } from '../errors.ts'
import { loadPolicy, policyJsonSchema, redact } from '../policy/index.ts'
import { EXIT } from './failure.ts'
import { formatCount } from './format.ts'
import { findPolicyFiles, namedPolicy } from './policy-files.ts'
import { paintFor, type Terminal, write } from './terminal.ts'

export interface ValidateOptions {
  readonly policy: readonly string[]
  readonly json: boolean
  /** Prints the JSON Schema of the policy file instead. */
  readonly schema: boolean
  /** Prints the merged policy, without its secrets. */
  readonly print: boolean
}

/** Checks a policy and prints every problem of it; exit code 1 where there are any. */
export async function validate(options: ValidateOptions, terminal: Terminal): Promise<number> {
  const { stdout, stderr, env } = terminal
  if (options.schema) {
    await write(stdout, toJson(policyJsonSchema()))
    return EXIT.fine
  }
  const named = namedPolicy(options.policy, env, 'validate policy.yaml')
  try {
    const files = await findPolicyFiles(named, env)
    const { document } = await loadPolicy(files, { env })
    const [rules, exemptions] = [document.rules?.length ?? 0, document.exempt?.length ?? 0]
    if (options.print) {
      const shown = redact(document)
      await write(stdout, options.json ? toJson(shown) : stringify(shown))
    } else if (options.json) {
      await write(stdout, toJson({ ok: true, files, rules, exemptions, problems: [] }))
    }
    const paint = paintFor(options.print ? stderr : stdout, env)
    const counts = `${count(rules, 'rule')}, ${count(exemptions, 'exemption')}`
    const line = `${paint('green', 'ok')} ${files.join(' + ')}: ${counts}\n`
    // What is printed may be read by a program; the verdict then goes beside it.
    if (options.print) await write(stderr, line)
    else if (!options.json) await write(stdout, line)
    return EXIT.fine
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
    if (options.json) {
      await write(stdout, toJson({ ok: false, files: named, problems: error.problems }))
    } else await write(stderr, error.problems.map(problem => `${formatProblem(problem)}\n`).join(''))
    return EXIT.failed
  }
}

function toJson(value: unknown): string {
  return `${JSON.stringify(value, null, 2)}\n`
}

function count(number: number, noun: string): string {
  return `${formatCount(number)} ${noun}${number === 1 ? '' : 's'}`
}
