import { policyError } from './errors.ts'

/** Text with placeholders: literals, and names in braces. */
export type Template = readonly (string | { readonly name: string })[]

const PLACEHOLDER = /\{([A-Za-z_][A-Za-z0-9_]*)\}/g

/** Parses a text such as `dead/{topic}`. Throws PolicyError at `path` for an unmatched brace. */
export function parseTemplate(text: string, path: string): Template {
  const parts: (string | { readonly name: string })[] = []
  let from = 0
  for (const match of text.matchAll(PLACEHOLDER)) {
    if (match.index > from) parts.push(text.slice(from, match.index))
    parts.push({ name: match[1]! })
    from = match.index + match[0].length
  }
  if (from < text.length) parts.push(text.slice(from))
  if (parts.some(part => typeof part === 'string' && /[{}]/.test(part))) {
    const message = `${JSON.stringify(text.slice(0, 80))} has a brace outside a {name}`
    throw policyError(path, message, 'write placeholders such as {topic}')
  }
  return parts
}

/** Returns the names of a template's placeholders. */
export function placeholdersOf(template: Template): readonly string[] {
  return template.flatMap(part => (typeof part === 'string' ? [] : [part.name]))
}

/** Fills each placeholder of a template. */
export function fill(template: Template, textOf: (name: string) => string): string {
  let text = ''
  for (const part of template) text += typeof part === 'string' ? part : textOf(part.name)
  return text
}
