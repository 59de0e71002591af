import { readFile } from 'node:fs/promises'
import { isMap, isSeq, parseDocument } from 'yaml'
import { PolicyError, type Problem, policyError } from '../core/errors.ts'
import { MAX_SIZES } from '../core/max-sizes.ts'
import { writePrivateFile } from '../core/write-private-file.ts'
import {
  findPolicyWarnings,
  hasHiddenSecret,
  type LoadedPolicy,
  loadPolicy,
  redact,
} from '../policy/index.ts'
import type { AdminPolicyFiles } from './admin-policy-files.ts'
import { AdminProblem } from './problem.ts'

/** Author and reason of a change of the overlay. */
export interface OverlayChange {
  readonly atMs: number
  readonly by: string
  readonly reason: string
}

/** A version of the overlay. */
export interface OverlayVersion extends OverlayChange {
  readonly id: number
  readonly text: string
}

/** Rules and other parts in which two policies differ. */
export interface PolicyDiff {
  readonly added: string[]
  readonly removed: string[]
  readonly changed: { readonly rule: string; readonly before: unknown; readonly after: unknown }[]
  readonly other: string[]
}

type RuleFields = Readonly<Record<string, unknown>>

/**
 * The overlay: a policy file that the admin API writes, merged after the others. Each version is kept in a file beside
 * it. Changes run one at a time.
 */
export class PolicyOverlay {
  readonly #policy: AdminPolicyFiles
  #changing: Promise<unknown> = Promise.resolve()

  constructor(policy: AdminPolicyFiles) {
    this.#policy = policy
  }

  get isEditable(): boolean {
    return this.#policy.overlay !== undefined
  }

  /** Returns the text of the overlay; empty if there is none yet. */
  async read(): Promise<string> {
    return readIfExists(this.#file)
  }

  /** Returns the versions, the newest first. */
  async versions(): Promise<readonly OverlayVersion[]> {
    const text = await readIfExists(this.#versionsFile)
    const lines = text.split('\n').filter(line => line !== '')
    return lines.map(line => JSON.parse(line) as OverlayVersion).reverse()
  }

  /** Loads the policy as it would be with this overlay. Throws PolicyError with the positions of all problems. */
  async load(text: string): Promise<LoadedPolicy> {
    // A text without a line break could be the path of a file.
    const { files, algorithms = [] } = this.#policy
    const loaded = await loadPolicy([...files, `${text.trim() === '' ? '{}' : text}\n`], {
      algorithms,
      // Whoever may check an overlay could read the environment of the process.
      substitutesText: false,
    })
    if (!hasHiddenSecret(parseDocument(text).toJS())) return loaded
    const remedy = 'write the secret: GET /policy hides those of the policy'
    throw policyError('overlay', '*** is not a secret: secrets are hidden when they are read', remedy)
  }

  /** Returns the problems and warnings of the policy with this overlay. */
  async validate(
    text: string,
  ): Promise<{ readonly problems: readonly Problem[]; readonly warnings: readonly Problem[] }> {
    try {
      return { problems: [], warnings: findPolicyWarnings(await this.load(text)) }
    } catch (error) {
      if (error instanceof PolicyError) return { problems: error.problems, warnings: [] }
      throw error
    }
  }

  /**
   * Runs a change while no other runs: `edit` returns the new text. Writes the file and a version, and puts the policy in
   * force. If it is refused, the earlier text is restored. Returns the version. Throws PolicyError, or AdminProblem with
   * status 409 for a file that cannot be written.
   */
  change(edit: (text: string) => string | Promise<string>, change: OverlayChange): Promise<OverlayVersion> {
    const changed = this.#changing.then(async () => {
      const before = await this.read()
      const text = await edit(before)
      await this.load(text)
      await this.#write(this.#file, text)
      try {
        await this.#policy.reload()
      } catch (error) {
        await this.#write(this.#file, before)
        await this.#policy.reload().catch(() => {})
        throw error
      }
      return this.#addVersion(text, change)
    })
    this.#changing = changed.catch(() => {})
    return changed
  }

  get #file(): string {
    const { overlay } = this.#policy
    if (overlay === undefined)
      throw new AdminProblem(409, 'the policy cannot be changed here: no overlay file is set')
    return overlay
  }

  get #versionsFile(): string {
    return `${this.#file}.versions`
  }

  async #addVersion(text: string, change: OverlayChange): Promise<OverlayVersion> {
    const versions = await this.versions()
    const version = { id: (versions[0]?.id ?? 0) + 1, ...change, text }
    const kept = [version, ...versions].slice(0, MAX_SIZES.overlayVersions).reverse()
    await this.#write(this.#versionsFile, kept.map(each => `${JSON.stringify(each)}\n`).join(''))
    return version
  }

  /** Replaces a file in one step, after its content is on the disk. */
  async #write(path: string, text: string): Promise<void> {
    try {
      await writePrivateFile(path, text)
    } catch (error) {
      const { code = String(error) } = error as NodeJS.ErrnoException
      throw new AdminProblem(409, `${path} cannot be written: ${code}`)
    }
  }
}

/** Returns an overlay in which a rule has these fields, besides those it has there. Comments stay. */
export function setRule(text: string, name: string, fields: RuleFields): string {
  const document = parseDocument(text.trim() === '' ? '{}' : text)
  if (!isSeq(document.get('rules'))) document.set('rules', document.createNode([]))
  const rules = document.get('rules')
  if (!isSeq(rules)) throw new AdminProblem(409, 'the overlay has no list of rules')
  const rule = rules.items.find(item => isMap(item) && item.get('name') === name)
  if (isMap(rule))
    for (const [field, value] of Object.entries(fields)) rule.set(field, document.createNode(value))
  else rules.add(document.createNode({ name, ...fields }))
  rules.flow = false
  if (isMap(document.contents)) document.contents.flow = false
  return document.toString()
}

/** Returns an overlay with a `shadow` of the policy. Comments stay. */
export function setPolicyShadow(text: string, shadow: boolean | string): string {
  const document = parseDocument(text.trim() === '' ? '{}' : text)
  document.set('shadow', shadow)
  if (isMap(document.contents)) document.contents.flow = false
  return document.toString()
}

/** Returns an overlay without a rule. */
export function removeRule(text: string, name: string): string {
  const document = parseDocument(text)
  const rules = document.get('rules')
  if (isSeq(rules)) rules.items = rules.items.filter(item => !(isMap(item) && item.get('name') === name))
  return document.toString()
}

/** Compares two policies, without their secrets. */
export function diffPolicies(before: LoadedPolicy | undefined, after: LoadedPolicy): PolicyDiff {
  const [old, now] = [before?.document ?? {}, after.document].map(
    document => redact(document) as Readonly<Record<string, unknown>>,
  ) as [Readonly<Record<string, unknown>>, Readonly<Record<string, unknown>>]
  const [oldRules, newRules] = [rulesOf(old), rulesOf(now)]
  const diff: PolicyDiff = { added: [], removed: [], changed: [], other: [] }
  for (const [rule, fields] of newRules) {
    const earlier = oldRules.get(rule)
    if (earlier === undefined) diff.added.push(rule)
    else if (!isEqual(earlier, fields)) diff.changed.push({ rule, before: earlier, after: fields })
  }
  for (const rule of oldRules.keys()) if (!newRules.has(rule)) diff.removed.push(rule)
  for (const part of new Set([...Object.keys(old), ...Object.keys(now)]))
    if (part !== 'rules' && !isEqual(old[part], now[part])) diff.other.push(part)
  return diff
}

/** Returns the rules by name; a rule without one by its position. */
function rulesOf({ rules }: Readonly<Record<string, unknown>>): ReadonlyMap<string, RuleFields> {
  const list = Array.isArray(rules) ? (rules as readonly RuleFields[]) : []
  return new Map(
    list.map((rule, index) => [typeof rule.name === 'string' ? rule.name : `rules[${index}]`, rule]),
  )
}

function isEqual(a: unknown, b: unknown): boolean {
  return JSON.stringify(a) === JSON.stringify(b)
}

/** Returns the text of a file; empty if there is none. */
async function readIfExists(path: string): Promise<string> {
  try {
    return await readFile(path, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return ''
    throw error
  }
}
