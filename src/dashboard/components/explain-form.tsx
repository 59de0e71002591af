import { useState } from 'preact/hooks'
import { request } from '../api/request.ts'
import type { ExplanationJson, SenderCard } from '../api/types.ts'
import { LimitTable } from './limit-table.tsx'

/** Explains the decision about a message of a sender, step by step. Charges nothing. */
export function ExplainForm({ card }: { readonly card: SenderCard }) {
  const [topic, setTopic] = useState(card.refusals[0]?.topic ?? card.limits[0]?.topic ?? '')
  const [explanation, setExplanation] = useState<ExplanationJson>()
  const [error, setError] = useState('')
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault()
    try {
      const body = { topic, sender: card.identity }
      setExplanation(await request<ExplanationJson>('POST', 'explain', { body }))
      setError('')
    } catch (cause) {
      setExplanation(undefined)
      setError((cause as Error).message)
    }
  }
  return (
    <section aria-labelledby="card-explain">
      <h3 id="card-explain">Explain a message</h3>
      <form class="inline-form" onSubmit={submit}>
        <input
          aria-label="Topic"
          required
          spellcheck={false}
          value={topic}
          onInput={event => setTopic(event.currentTarget.value)}
        />
        <button type="submit">Explain</button>
      </form>
      {error !== '' && (
        <p class="error-text" role="alert">
          {error}
        </p>
      )}
      {explanation && <Steps explanation={explanation} />}
    </section>
  )
}

function Steps({ explanation }: { readonly explanation: ExplanationJson }) {
  const { ban, exemptions, limits, skipped, decision } = explanation
  const exempting = exemptions.filter(({ exempts }) => exempts)
  return (
    <div class="steps" role="status">
      <p>
        <strong>{decision.allowed ? 'It would pass' : `It would be refused: ${decision.outcome}`}</strong>
        {decision.rule && `, by ${decision.rule}`} ({decision.reason}).
      </p>
      {ban && <p>Banned: {ban.reason}. Nothing else is asked.</p>}
      {exempting.length > 0 && <p>Exempt by {exempting.map(({ name }) => name ?? 'code').join(', ')}.</p>}
      <LimitTable limits={limits} />
      {skipped.length > 0 && <p class="hint">Not for it: {skipped.map(({ rule }) => rule).join(', ')}.</p>}
    </div>
  )
}
