import { useState } from 'preact/hooks'
import type { EntryList, SenderCard } from '../api/types.ts'
import { putEntry } from '../state/change-entry.ts'
import { Icon, type IconName } from './icon.tsx'
import { ReasonForm } from './reason-form.tsx'

interface SenderAction {
  readonly list: Exclude<EntryList, 'tiers'>
  readonly label: string
  readonly icon: IconName
  /** Report once it is done, without the sender. */
  readonly done: string
  readonly body: (id: string) => object
}

const ACTIONS: readonly SenderAction[] = [
  {
    list: 'overrides',
    label: 'Double limits, 1 h',
    icon: 'raise',
    done: 'has twice its limits for 1 h',
    body: () => ({ limit: 'x2', for: '1h' }),
  },
  {
    list: 'exemptions',
    label: 'Exempt, 1 h',
    icon: 'exempt',
    done: 'is exempt for 1 h',
    body: id => ({ ...subjectOf(id), for: '1h' }),
  },
  {
    list: 'bans',
    label: 'Ban, 15 min',
    icon: 'ban',
    done: 'is banned for 15 min',
    body: () => ({ for: '15m' }),
  },
]

/** Actions on a sender; each asks for a reason and can be undone. */
export function SenderActions({ card }: { readonly card: SenderCard }) {
  const { id } = card
  const [chosen, setChosen] = useState<SenderAction>()
  return (
    <section aria-labelledby="card-actions">
      <h3 id="card-actions">Actions</h3>
      <div class="actions">
        {ACTIONS.filter(({ list }) => list !== 'exemptions' || !id.startsWith('apiKey:')).map(action => (
          <button
            key={action.list}
            type="button"
            class={action.list === 'bans' ? 'danger' : ''}
            aria-expanded={action === chosen}
            onClick={() => setChosen(action === chosen ? undefined : action)}
          >
            <Icon name={action.icon} /> {action.label}
          </button>
        ))}
      </div>
      {chosen && (
        <ReasonForm
          key={chosen.list}
          submitLabel={`${chosen.label}: ${id}`}
          onCancel={() => setChosen(undefined)}
          onSubmit={async reason => {
            const body = { ...chosen.body(id), reason }
            const isReplaced = hasEntry(card, chosen.list)
            await putEntry(chosen.list, id, body, { isReplaced, text: `${id} ${chosen.done}` })
            setChosen(undefined)
          }}
        />
      )}
    </section>
  )
}

/** Returns true if an action would replace an entry of this sender. */
function hasEntry({ id, exemptions, ...lists }: SenderCard, list: SenderAction['list']): boolean {
  if (list === 'exemptions') return exemptions.some(({ name }) => name === id)
  return lists[list].some(entry => entry.id === id)
}

/** Returns the fields by which an exemption covers a sender: `{ clients: ['d7'] }`. */
function subjectOf(id: string): object {
  const colon = id.indexOf(':')
  return { [`${id.slice(0, colon)}s`]: [id.slice(colon + 1)] }
}
