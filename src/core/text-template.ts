import { policyError } from './errors.ts'

/** Text with placeholders: literals, and names in braces. */
export type Template = readonly (string | { readonly name: string })[]

const PLACEHOLDER = /\{([^{}]+)\}/g
const REMEDY = 'write placeholders such as {topic}'

/**
 * Parses a text such as `dead/{topic}`. The caller checks the names. Throws PolicyError at `path` for a brace
 * that is not part of a placeholder.
 */
export function parseTextTemplate(text: string, path: string, remedy: string = REMEDY): Template {
  const parts: (string | { readonly name: string })[] = []
  let from = 0
  for (const match of text.matchAll(PLACEHOLDER)) {
    if (match.index > from) parts.push(text.slice(from, match.index))
    parts.push({ name: match[1]! })
    from = match.index + match[0].length
  }
  if (from < text.length) parts.push(text.slice(from))
  if (parts.some(part => typeof part === 'string' && /[{}]/.test(part)))
    throw policyError(path, `${JSON.stringify(text.slice(0, 60))} has a brace outside a {name}`, remedy)
  return parts
}

/** Returns the names of a template's placeholders. */
export function placeholdersOf(template: Template): readonly string[] {
  return template.flatMap(part => (typeof part === 'string' ? [] : [part.name]))
}

/** Fills each placeholder of a template. */
export function fillTemplate(template: Template, textOf: (name: string) => string): string {
  let text = ''
  for (const part of template) text += typeof part === 'string' ? part : textOf(part.name)
  return text
}
