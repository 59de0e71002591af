import { withoutControls } from '../../core/errors.ts'

/** Escapes a text for content and attributes, without the characters that XML forbids. */
export function escapeXml(text: string): string {
  return text
    .split('\n')
    .map(withoutControls)
    .join('\n')
    .replaceAll(/[\ufffe\uffff]/g, '�')
    .replaceAll('&', '&amp;')
    .replaceAll('<', '&lt;')
    .replaceAll('>', '&gt;')
    .replaceAll('"', '&quot;')
}
