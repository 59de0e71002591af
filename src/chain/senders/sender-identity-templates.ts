import { createHash } from 'node:crypto'
import { readHeaderValues } from '../../conditions/header.ts'
import { PolicyError, type Problem, policyError } from '../../core/errors.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Message, Sender } from '../../core/message.ts'
import { parseTextTemplate, placeholdersOf } from '../../core/text-template.ts'

/** Parts of a sender that a policy may set. */
const PARTS = ['client', 'user', 'device', 'apiKey', 'tier'] as const

/**
 * Identity of senders, in addition to what the broker knows: templates with `{client}`, `{user}`, `{ip}`,
 * `{header.NAME}` and `{topic.CAPTURE}`. The text of `roles` is one role, or is looked up in a table.
 */
export interface IdentitySpec {
  readonly client?: string | undefined
  readonly user?: string | undefined
  readonly device?: string | undefined
  readonly apiKey?: string | undefined
  readonly tier?: string | undefined
  readonly roles?:
    | string
    | { readonly from: string; readonly map: Readonly<Record<string, readonly string[]>> }
}

/** Compiled `senders` of a policy. */
export interface SenderResolver {
  /** True if the sender can differ between messages of one connection and topic. */
  readonly usesHeaders: boolean
  /**
   * Returns the sender of a message. A template replaces a part only if all its placeholders have values.
   * Values longer than a key part are hashed. Returns the message's own sender object if nothing changes.
   * Never throws.
   */
  resolve(message: Message, captures: ReadonlyMap<string, string>): Sender
}

/** Returns the text of a placeholder for a message; undefined if there is none. */
type PlaceholderText = (message: Message, captures: ReadonlyMap<string, string>) => string | undefined

/** A parsed template. */
export interface SenderTemplate {
  readonly parts: readonly (string | PlaceholderText)[]
  /** Names of the captures it uses. */
  readonly captures: readonly string[]
  /** Name of the header, if the template consists of one header only. */
  readonly header: string | undefined
  readonly usesHeaders: boolean
}

const REMEDY = 'use {client}, {user}, {ip}, {header.NAME} or {topic.CAPTURE}, and text between them'

/** Parses a template of a sender's part. Throws PolicyError with `path`. */
export function parseSenderTemplate(text: string, path: string): SenderTemplate {
  const template = parseTextTemplate(String(text), path, REMEDY)
  const names = placeholdersOf(template)
  if (names.length === 0) {
    const message = `${JSON.stringify(String(text).slice(0, 60))} is the same for every sender`
    throw policyError(path, message, REMEDY)
  }
  const unknown = names.filter(name => placeholderText(name) === undefined)
  if (unknown.length > 0) {
    throw new PolicyError(
      unknown.map(name => {
        const message = `${JSON.stringify(`{${name}}`.slice(0, 60))} is not a placeholder`
        return { path, message, remedy: REMEDY }
      }),
    )
  }
  const headers = names.flatMap(name => suffixOf(name, 'header.') ?? [])
  return {
    parts: template.map(part => (typeof part === 'string' ? part : placeholderText(part.name)!)),
    captures: names.flatMap(name => suffixOf(name, 'topic.') ?? []),
    header: template.length === 1 ? headers[0] : undefined,
    usesHeaders: headers.length > 0,
  }
}

function placeholderText(name: string): PlaceholderText | undefined {
  const header = suffixOf(name, 'header.')
  if (header !== undefined) return message => readHeaderValues(message, header)[0]
  const capture = suffixOf(name, 'topic.')
  if (capture !== undefined) return (_message, captures) => captures.get(capture)
  if (name !== 'client' && name !== 'user' && name !== 'ip') return undefined
  return ({ sender }) => (Object.hasOwn(sender, name) ? sender[name] : undefined)
}

/** Returns the part of a text after a prefix. Returns undefined if there is no such part. */
function suffixOf(text: string, prefix: string): string | undefined {
  return text.startsWith(prefix) && text.length > prefix.length ? text.slice(prefix.length) : undefined
}

/** Compiles `senders` of a policy. Returns undefined if it sets nothing. Throws PolicyError with all problems. */
export function compileIdentity(spec: IdentitySpec | undefined): SenderResolver | undefined {
  if (spec === undefined) return undefined
  const problems: Problem[] = []
  const read = (text: string, path: string): SenderTemplate | undefined => {
    try {
      return parseSenderTemplate(text, path)
    } catch (error) {
      if (!(error instanceof PolicyError)) throw error
      problems.push(...error.problems)
      return undefined
    }
  }
  const parts = PARTS.flatMap(part => {
    const text = spec[part]
    const template = text === undefined ? undefined : read(text, part)
    return template ? [{ part, template }] : []
  })
  const roles = spec.roles === undefined ? undefined : compileRoles(spec.roles, read)
  if (problems.length > 0) throw new PolicyError(problems)
  if (parts.length === 0 && !roles) return undefined
  return {
    usesHeaders: parts.some(({ template }) => template.usesHeaders) || roles?.usesHeaders === true,
    resolve(message, captures) {
      try {
        const found: Record<string, unknown> = {}
        for (const { part, template } of parts) {
          const value = fillSenderTemplate(template, message, captures)
          if (value !== undefined) found[part] = value
        }
        const given = roles?.of(message, captures)
        if (given !== undefined) found.roles = given
        return Object.keys(found).length === 0 ? message.sender : { ...message.sender, ...found }
      } catch {
        return message.sender
      }
    },
  }
}

interface Roles {
  readonly usesHeaders: boolean
  of(message: Message, captures: ReadonlyMap<string, string>): readonly string[] | undefined
}

function compileRoles(
  spec: NonNullable<IdentitySpec['roles']>,
  read: (text: string, path: string) => SenderTemplate | undefined,
): Roles | undefined {
  const text = typeof spec === 'string' ? spec : spec.from
  const template = read(text, typeof spec === 'string' ? 'roles' : 'roles.from')
  if (!template) return undefined
  const table = typeof spec === 'string' ? undefined : new Map(Object.entries(spec.map))
  return {
    usesHeaders: template.usesHeaders,
    of(message, captures) {
      // A header can occur several times. Values are not split, so that a name with a comma does not become
      // two roles.
      const values =
        template.header === undefined
          ? [fillSenderTemplate(template, message, captures) ?? '']
          : readHeaderValues(message, template.header).map(hashIfLong)
      const roles = values.flatMap(value => (table ? (table.get(value) ?? []) : value === '' ? [] : [value]))
      return roles.length === 0 ? undefined : [...new Set(roles)].slice(0, MAX_SIZES.rolesPerSender)
    },
  }
}

function fillSenderTemplate(
  template: SenderTemplate,
  message: Message,
  captures: ReadonlyMap<string, string>,
): string | undefined {
  let text = ''
  for (const part of template.parts) {
    const value = typeof part === 'string' ? part : part(message, captures)
    if (typeof value !== 'string' || value === '') return undefined
    text += value
  }
  return hashIfLong(text)
}

function hashIfLong(text: string): string {
  if (text.length <= MAX_SIZES.keyPartChars) return text
  return `sha256:${createHash('sha256').update(text, 'utf16le').digest('base64url')}`
}
