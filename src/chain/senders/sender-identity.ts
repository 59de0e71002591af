import { createHash } from 'node:crypto'
import { readHeader } from '../../conditions/header.ts'
import { PolicyError, type Problem } from '../../core/errors.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Message, Sender } from '../../core/message.ts'

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
export interface Identity {
  /** True if the sender can differ between messages of one connection and topic. */
  readonly usesHeaders: boolean
  /**
   * Returns the sender of a message. A template replaces a part only if all its placeholders have values.
   * Values longer than a key part are hashed. Returns the message's own sender object if nothing changes.
   * Never throws.
   */
  resolve(message: Message, captures: ReadonlyMap<string, string>): Sender
}

type Piece = (message: Message, captures: ReadonlyMap<string, string>) => string | undefined

/** A parsed template. */
export interface Template {
  readonly pieces: readonly (string | Piece)[]
  /** Names of the captures it uses. */
  readonly captures: readonly string[]
  /** Name of the header, if the template consists of one header only. */
  readonly header?: string | undefined
  readonly usesHeaders: boolean
}

const FORM = 'use {client}, {user}, {ip}, {header.NAME} or {topic.CAPTURE}, and text between them'

/** Parses a template. Throws PolicyError with `path`. */
export function parseTemplate(text: string, path: string): Template {
  const problems: Problem[] = []
  const pieces: (string | Piece)[] = []
  const captures: string[] = []
  const headers: string[] = []
  for (const [part, name] of String(text).matchAll(/\{([^{}]*)\}|[{}]|[^{}]+/g)) {
    if (name?.startsWith('header.') && name.length > 'header.'.length) {
      const header = name.slice('header.'.length)
      headers.push(header)
      pieces.push(message => readHeader(message, header)[0])
    } else if (name?.startsWith('topic.') && name.length > 'topic.'.length) {
      const capture = name.slice('topic.'.length)
      captures.push(capture)
      pieces.push((_message, values) => values.get(capture))
    } else if (name === 'client' || name === 'user' || name === 'ip') {
      pieces.push(message => (Object.hasOwn(message.sender, name) ? message.sender[name] : undefined))
    } else if (name !== undefined || part === '{' || part === '}') {
      const shown = JSON.stringify(part.slice(0, 60))
      const message = `${shown} ${name === undefined ? 'stands alone' : 'is no placeholder'}`
      problems.push({ path, message, remedy: FORM })
    } else pieces.push(part)
  }
  if (problems.length === 0 && pieces.every(piece => typeof piece === 'string')) {
    const message = `${JSON.stringify(String(text).slice(0, 60))} is the same for every sender`
    problems.push({ path, message, remedy: FORM })
  }
  if (problems.length > 0) throw new PolicyError(problems)
  const [header] = headers
  return {
    pieces,
    captures,
    usesHeaders: headers.length > 0,
    ...(header !== undefined && pieces.length === 1 ? { header } : {}),
  }
}

/** Compiles `senders` of a policy. Returns undefined if it sets nothing. Throws PolicyError with all problems. */
export function compileIdentity(spec: IdentitySpec | undefined): Identity | undefined {
  if (spec === undefined) return undefined
  const problems: Problem[] = []
  const read = (text: string, path: string): Template | undefined => {
    try {
      return parseTemplate(text, path)
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
          const value = fill(template, message, captures)
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
  read: (text: string, path: string) => Template | undefined,
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
          ? [fill(template, message, captures) ?? '']
          : readHeader(message, template.header).map(bounded)
      const roles = values.flatMap(value => (table ? (table.get(value) ?? []) : value === '' ? [] : [value]))
      return roles.length === 0 ? undefined : [...new Set(roles)].slice(0, MAX_SIZES.rolesPerSender)
    },
  }
}

function fill(
  template: Template,
  message: Message,
  captures: ReadonlyMap<string, string>,
): string | undefined {
  let text = ''
  for (const piece of template.pieces) {
    const part = typeof piece === 'string' ? piece : piece(message, captures)
    if (typeof part !== 'string' || part === '') return undefined
    text += part
  }
  return bounded(text)
}

function bounded(text: string): string {
  if (text.length <= MAX_SIZES.keyPartChars) return text
  return `sha256:${createHash('sha256').update(text, 'utf16le').digest('base64url')}`
}
