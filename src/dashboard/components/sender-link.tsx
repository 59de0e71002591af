import type { ComponentChildren } from 'preact'
import { senderLink } from '../state/route.ts'

interface SenderLinkProps {
  readonly id: string
  /** Default: the id. */
  readonly children?: ComponentChildren | undefined
}

/** Opens the card of a sender. A sender without identity has none. */
export function SenderLink({ id, children = id }: SenderLinkProps) {
  return id.includes(':') ? <a href={senderLink(id)}>{children}</a> : <span>{children}</span>
}
