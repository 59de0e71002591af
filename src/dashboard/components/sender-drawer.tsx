import { useEffect, useRef } from 'preact/hooks'
import type { Audit, SenderCard } from '../api/types.ts'
import { closeSender } from '../state/route.ts'
import { useResource } from '../state/use-resource.ts'
import { AuditTable } from './audit-table.tsx'
import { ExplainForm } from './explain-form.tsx'
import { Icon } from './icon.tsx'
import { LimitTable } from './limit-table.tsx'
import { NoticeBar } from './notice-bar.tsx'
import { SenderActions } from './sender-actions.tsx'
import { SenderEntries } from './sender-entries.tsx'
import { SenderLink } from './sender-link.tsx'
import { SenderRefusals } from './sender-refusals.tsx'

const CARD_MS = 1_000
const AUDIT_MS = 10_000
const AUDIT_ROWS = 5

/** The card of a sender: why it is refused, until when, and what can be done. */
export function SenderDrawer({ id, canChange }: { readonly id: string; readonly canChange: boolean }) {
  const dialog = useRef<HTMLDialogElement>(null)
  const { data: card, error } = useResource<SenderCard>(`senders/${encodeURIComponent(id)}`, CARD_MS)
  const { data: audit } = useResource<Audit>('audit?limit=200', AUDIT_MS)
  useEffect(() => dialog.current?.showModal(), [])
  const records = audit?.records.filter(record => record.id === id || record.id.startsWith(`${id} `)) ?? []
  return (
    <dialog ref={dialog} class="drawer" aria-labelledby="drawer-title" onClose={closeSender} closedby="any">
      <div class="drawer-content">
        <header class="drawer-head">
          <h2 id="drawer-title">{id}</h2>
          <button
            type="button"
            class="icon-button"
            aria-label="Close"
            onClick={() => dialog.current?.close()}
          >
            <Icon name="close" />
          </button>
        </header>
        {error !== undefined && (
          <p class="banner critical" role="alert">
            {error}
          </p>
        )}
        {card && (
          <>
            <Identity card={card} />
            <p class={`banner ${toneOf(card)}`}>
              <Icon name={toneOf(card)} /> <span>{card.summary}</span>
            </p>
            {canChange && <SenderActions card={card} />}
            <SenderEntries card={card} canChange={canChange} />
            <section aria-labelledby="card-limits">
              <h3 id="card-limits">Limits</h3>
              <LimitTable limits={card.limits} />
              {card.notAsked.length > 0 && (
                <p class="hint">Not known without a topic: {card.notAsked.join(', ')}.</p>
              )}
            </section>
            <SenderRefusals refusals={card.refusals} />
            <ExplainForm card={card} />
            <section aria-labelledby="card-audit">
              <h3 id="card-audit">Changes</h3>
              <AuditTable records={records.slice(0, AUDIT_ROWS)} />
            </section>
          </>
        )}
      </div>
      <NoticeBar />
    </dialog>
  )
}

function toneOf({ bans, limits }: SenderCard): 'ok' | 'warning' | 'critical' {
  if (bans.length > 0) return 'critical'
  return limits.some(({ allowed, shadow }) => !allowed && !shadow) ? 'warning' : 'ok'
}

function Identity({ card: { id, identity, connected } }: { readonly card: SenderCard }) {
  const { client, user, device, ip, roles, tier } = identity
  const others = Object.entries({ client, user, device, ip }).filter(
    ([part, value]) => value !== undefined && `${part}:${value}` !== id,
  )
  const state = connected === null ? undefined : connected ? 'connected' : 'not connected'
  return (
    <ul class="identity">
      {state && <li>{state}</li>}
      {others.map(([part, value]) => (
        <li key={part}>
          {part} <SenderLink id={`${part}:${value}`}>{value}</SenderLink>
        </li>
      ))}
      {roles !== undefined && roles.length > 0 && <li>roles {roles.join(', ')}</li>}
      {tier !== undefined && <li>tier {tier}</li>}
    </ul>
  )
}
