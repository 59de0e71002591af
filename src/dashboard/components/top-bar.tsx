import { useState } from 'preact/hooks'
import type { Status } from '../api/types.ts'
import { formatAgo } from '../format/format.ts'
import { isPaused } from '../state/activity.ts'
import { connection } from '../state/live.ts'
import { PAGES, type Page, pageLink, senderLink } from '../state/route.ts'
import { signOut, token } from '../state/session.ts'
import { Icon, type IconName } from './icon.tsx'

export function TopBar({ status, page }: { readonly status: Status; readonly page: Page }) {
  return (
    <header class="top-bar">
      <div class="top-bar-row">
        <a class="brand" href={pageLink('overview')}>
          <img src="./favicon.svg" alt="" width="22" height="22" /> topicgate
        </a>
        <nav aria-label="Pages">
          {(Object.keys(PAGES) as Page[]).map(each => (
            <a key={each} href={pageLink(each)} aria-current={each === page ? 'page' : undefined}>
              {PAGES[each]}
            </a>
          ))}
        </nav>
        <FindSender />
        <PauseButton />
      </div>
      <StateList status={status} />
    </header>
  )
}

function FindSender() {
  const [name, setName] = useState('')
  const submit = (event: Event): void => {
    event.preventDefault()
    const id = name.trim()
    if (id === '') return
    location.hash = senderLink(/^(client|user|device|ip|apiKey):/.test(id) ? id : `client:${id}`)
    setName('')
  }
  return (
    <search class="find">
      <form onSubmit={submit}>
        <Icon name="search" />
        <input
          type="search"
          aria-label="Open the card of a client, or of user:…, device:…, ip:…"
          placeholder="Client, user:…, ip:…"
          spellcheck={false}
          value={name}
          onInput={event => setName(event.currentTarget.value)}
        />
      </form>
    </search>
  )
}

function PauseButton() {
  const paused = isPaused.value
  const words = { connecting: 'Connecting', live: 'Live', off: 'Paused', lost: 'Reconnecting' }
  return (
    <button
      type="button"
      class={`pause ${connection.value}`}
      aria-pressed={paused}
      title={paused ? 'Go on' : 'Pause updates'}
      onClick={() => {
        isPaused.value = !paused
      }}
    >
      <Icon name={paused ? 'play' : 'pause'} /> {paused ? 'Paused' : words[connection.value]}
    </button>
  )
}

/** State of the node in one line: each part an icon and words. */
function StateList({ status }: { readonly status: Status }) {
  const { policy, store, load, alerts, role, caller, node } = status
  const nowMs = status.startedAtMs + status.uptimeMs
  const storeText = store.ok ? 'ok' : (store.fallback ?? 'no answer')
  return (
    <ul class="state-list" aria-label="State of the node">
      <StatePart icon="live" label="Node" text={node} />
      <StatePart
        icon="policy"
        label="Policy"
        text={`${policy.etag.slice(0, 7)}, ${formatAgo(policy.appliedAtMs, nowMs)}`}
      />
      <StatePart
        icon={store.ok ? 'store' : 'critical'}
        tone={store.ok ? '' : 'critical'}
        label="Store"
        text={`${store.name} ${storeText}`}
      />
      <StatePart
        icon={load === null ? 'load' : 'warning'}
        tone={load === null ? '' : 'warning'}
        label="Load"
        text={load === null ? 'limits as written' : `limits × ${load.factor}, ${load.reason}`}
      />
      <StatePart
        icon={alerts === 0 ? 'ok' : 'warning'}
        tone={alerts === 0 ? '' : 'warning'}
        label="Alerts"
        text={alerts === 0 ? 'none' : `${alerts} firing`}
      />
      <StatePart icon="person" label="You" text={`${caller}, ${role}`} />
      {token.value !== '' && (
        <li>
          <button type="button" class="link" onClick={() => signOut()}>
            Sign out
          </button>
        </li>
      )}
    </ul>
  )
}

interface StatePartProps {
  readonly icon: IconName
  readonly label: string
  readonly text: string
  readonly tone?: '' | 'warning' | 'critical' | undefined
}

function StatePart({ icon, label, text, tone = '' }: StatePartProps) {
  return (
    <li class={tone}>
      <Icon name={icon} /> <span class="label">{label}</span> <span class="value">{text}</span>
    </li>
  )
}
