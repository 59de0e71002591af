import type { ComponentChildren } from 'preact'

interface ScrollAreaProps {
  readonly label: string
  /** True if it has a maximum height. */
  readonly isLow?: boolean | undefined
  readonly children: ComponentChildren
}

/** Area around a table that scrolls, by keyboard as well. */
export function ScrollArea({ label, isLow = false, children }: ScrollAreaProps) {
  return (
    // biome-ignore lint/a11y/noNoninteractiveTabindex: without a pointer it can be scrolled only if it has the focus
    <section class={isLow ? 'scroll low' : 'scroll'} tabIndex={0} aria-label={label}>
      {children}
    </section>
  )
}
