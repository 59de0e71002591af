const PATHS = {
  ok: 'M3 8.5l3.2 3.2L13 4.8',
  warning: 'M8 2.5l6.2 11H1.8zM8 6.5v3.2M8 11.6v.4',
  critical: 'M5.2 1.8h5.6l3.4 3.4v5.6l-3.4 3.4H5.2l-3.4-3.4V5.2zM5.5 5.5l5 5M10.5 5.5l-5 5',
  pause: 'M5.5 3v10M10.5 3v10',
  play: 'M4.5 3l8 5-8 5z',
  policy: 'M4 1.8h5.5L13 5.2v9H4zM6.5 7h4M6.5 9.5h4M6.5 12h2.5',
  store: 'M2.5 4c0-2.7 11-2.7 11 0v8c0 2.7-11 2.7-11 0zM2.5 4c0 2.7 11 2.7 11 0M2.5 8c0 2.7 11 2.7 11 0',
  load: 'M2 12a6 6 0 1 1 12 0M8 12l2.8-4.2',
  person: 'M8 8a3 3 0 1 0 0-6 3 3 0 0 0 0 6zM2.5 14c.5-5.5 10.5-5.5 11 0',
  search: 'M7 12A5 5 0 1 0 7 2a5 5 0 0 0 0 10zM10.6 10.6L14 14',
  close: 'M3.5 3.5l9 9M12.5 3.5l-9 9',
  ban: 'M8 14A6 6 0 1 0 8 2a6 6 0 0 0 0 12zM3.8 3.8l8.4 8.4',
  raise: 'M8 13.5V3M3.5 7.5L8 3l4.5 4.5',
  exempt: 'M8 1.8l5.5 2v4c0 3.4-2.2 5.6-5.5 6.6-3.3-1-5.5-3.2-5.5-6.6v-4zM5.5 8l2 2 3.3-3.6',
  live: 'M1.5 8h3l2-5 3 10 2-5h3',
} as const

export type IconName = keyof typeof PATHS

/** Icon beside a word; hidden from screen readers, which read the word. */
export function Icon({ name }: { readonly name: IconName }) {
  return (
    <svg class="icon" viewBox="0 0 16 16" aria-hidden="true">
      <path d={PATHS[name]} />
    </svg>
  )
}
