/** Bar beside a number that says the same; hidden from screen readers. */
export function ShareBar({ share, tone = '' }: { readonly share: number; readonly tone?: string }) {
  const width = `${100 * Math.min(1, Math.max(0, share))}%`
  return (
    <span class={`share-bar ${tone}`} aria-hidden="true">
      <span style={{ width }} />
    </span>
  )
}
