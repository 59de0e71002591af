import { policyError } from '../core/errors.ts'

/** A text with places to be filled: literals, and names in braces. */
export type Template = readonly (string | { readonly name: string })[]

const PLACE = /\{([A-Za-z_][A-Za-z0-9_]*)\}/g

/** Reads `dead/{topic}`. Throws PolicyError at `path` for a brace that belongs to no place. */
export function parseTemplate(text: string, path: string): Template {
  const parts: (string | { readonly name: string })[] = []
  let from = 0
  for (const match of text.matchAll(PLACE)) {
    if (match.index > from) parts.push(text.slice(from, match.index))
    parts.push({ name: match[1]! })
    from = match.index + match[0].length
  }
  if (from < text.length) parts.push(text.slice(from))
  if (parts.some(part => typeof part === 'string' && /[{}]/.test(part))) {
    const message = `${JSON.stringify(text.slice(0, 80))} has a brace that belongs to no {name}`
    throw policyError(path, message, 'write places as {topic}')
  }
  return parts
}

/** The names of a template's places. */
export function placesOf(template: Template): readonly string[] {
  return template.flatMap(part => (typeof part === 'string' ? [] : [part.name]))
}

/** The text, with each place filled. */
export function fill(template: Template, textOf: (name: string) => string): string {
  let text = ''
  for (const part of template) text += typeof part === 'string' ? part : textOf(part.name)
  return text
}
