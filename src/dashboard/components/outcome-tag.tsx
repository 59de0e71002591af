import { Icon, type IconName } from './icon.tsx'

const ICONS: Readonly<Record<string, IconName>> = {
  throttle: 'load',
  queue: 'load',
  drop: 'close',
  reject: 'ban',
  disconnect: 'ban',
  disabled: 'pause',
  'in shadow': 'search',
}

/** Outcome of a decision, as word and icon. */
export function OutcomeTag({ outcome }: { readonly outcome: string }) {
  return (
    <span class="tag">
      <Icon name={ICONS[outcome] ?? 'warning'} /> {outcome}
    </span>
  )
}
