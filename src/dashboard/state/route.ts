import { computed, signal } from '@preact/signals'

/** Pages of the dashboard, by the address after `#/`. */
export const PAGES = {
  overview: 'Overview',
  rules: 'Rules',
  entries: 'Bans and overrides',
  policy: 'Policy',
  audit: 'Audit',
} as const
export type Page = keyof typeof PAGES

const hash = signal(location.hash)
addEventListener('hashchange', () => {
  hash.value = location.hash
})

/** Page and sender of the address, as `#/rules?sender=client:d7`. */
export const route = computed<{ readonly page: Page; readonly sender: string | undefined }>(() => {
  const [, path = '', query = ''] = /^#\/(\w*)(?:\?(.*))?$/.exec(hash.value) ?? []
  const page = Object.hasOwn(PAGES, path) ? (path as Page) : 'overview'
  return { page, sender: new URLSearchParams(query).get('sender') ?? undefined }
})

export function pageLink(page: Page): string {
  return page === 'overview' ? '#/' : `#/${page}`
}

/** Returns the address that opens the card of a sender on the current page. */
export function senderLink(id: string): string {
  return `${pageLink(route.value.page)}?sender=${encodeURIComponent(id)}`
}

export function closeSender(): void {
  location.hash = pageLink(route.value.page)
}
