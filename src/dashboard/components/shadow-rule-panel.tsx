import { useEffect, useState } from 'preact/hooks'
import { request } from '../api/request.ts'
import type { Suggestion } from '../api/types.ts'
import { formatDuration } from '../format/format.ts'
import { ActionForm } from './action-form.tsx'
import { ListenProgress } from './listen-progress.tsx'
import { ReasonField } from './reason-form.tsx'
import { SuggestionForm } from './suggestion-form.tsx'

/** Times to listen. Why not longer: Firefox waits five minutes for an answer. */
const LISTEN_SECONDS = [30, 60, 240]

interface ShadowRulePanelProps {
  /** False while another page is shown. It listens on. */
  readonly isShown: boolean
  readonly onClose: () => void
}

/** Listens to the traffic, suggests limits for it, and adds them in shadow. */
export function ShadowRulePanel({ isShown, onClose }: ShadowRulePanelProps) {
  const [listening, setListening] = useState<{ readonly stop: AbortController; readonly seconds: number }>()
  useEffect(() => () => listening?.stop.abort(), [listening])
  const [suggested, setSuggested] = useState<{ readonly suggestion: Suggestion; readonly reason: string }>()

  const listen = async (fields: FormData): Promise<void> => {
    const stop = new AbortController()
    const given = [...(fields as Iterable<[string, string]>)].filter(([, value]) => value !== '')
    setListening({ stop, seconds: Number.parseInt(fields.get('for') as string, 10) })
    try {
      const path = `suggest?${new URLSearchParams(given)}`
      const suggestion = await request<Suggestion>('GET', path, { signal: stop.signal })
      setSuggested({ suggestion, reason: fields.get('reason') as string })
    } finally {
      setListening(undefined)
    }
  }
  const cancel = (): void => {
    if (listening === undefined) onClose()
    else listening.stop.abort(new Error('Cancelled.'))
  }
  return (
    <section class="panel" aria-labelledby="shadow-rule-title" hidden={!isShown}>
      <h2 id="shadow-rule-title">Make a shadow rule</h2>
      <p class="hint">
        Suggests a limit that ordinary senders do not reach, from the messages of a time. In shadow, a rule
        counts what it would refuse, and refuses nothing.
      </p>
      {suggested ? (
        <SuggestionForm {...suggested} onClose={onClose} />
      ) : (
        <ActionForm submitLabel="Listen" onSubmit={listen} onCancel={cancel}>
          <div class="fields">
            <label>
              Topic pattern; default: rules for all topics
              <input
                type="text"
                name="topic"
                spellcheck={false}
                placeholder="fleet/{site}/# or fleet.{site}.>"
              />
            </label>
            <label>
              Counted per; default: what all senders have
              <input type="text" name="per" spellcheck={false} placeholder="client, user, ip or device" />
            </label>
            <label>
              Time to listen
              <select name="for">
                {LISTEN_SECONDS.map(seconds => (
                  <option key={seconds} value={`${seconds}s`}>
                    {formatDuration(1_000 * seconds)}
                  </option>
                ))}
              </select>
            </label>
          </div>
          <ReasonField />
          {listening && <ListenProgress seconds={listening.seconds} />}
        </ActionForm>
      )}
    </section>
  )
}
