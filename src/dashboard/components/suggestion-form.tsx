import type { Suggestion } from '../api/types.ts'
import { formatCount } from '../format/format.ts'
import { changePolicy } from '../state/change-policy.ts'
import { ActionForm } from './action-form.tsx'
import { SenderLink } from './sender-link.tsx'

/** Most senders named that were set apart. */
const OUTLIERS = 10

interface SuggestionFormProps {
  readonly suggestion: Suggestion
  readonly reason: string
  readonly onClose: () => void
}

/** Suggested rules with what they are based on, to be added in shadow. */
export function SuggestionForm({ suggestion, reason, onClose }: SuggestionFormProps) {
  const { rules, verification } = suggestion
  const add = async (fields: FormData): Promise<void> => {
    const named = rules
      .map((rule, index) => ({ ...rule.fields, name: fields.getAll('name')[index] as string }))
      .filter(({ name }) => name !== '')
    const text = `${named.map(({ name }) => name).join(', ')} added in shadow`
    await changePolicy(text, 'POST', 'rules', { rules: named, reason })
    onClose()
  }
  return (
    <ActionForm submitLabel="Add in shadow" onSubmit={add} cancelLabel="Discard" onCancel={onClose}>
      <p>{verification.text.join(' ')}</p>
      {rules.map(rule => (
        <SuggestedRule key={rule.name} rule={rule} isOnly={rules.length === 1} />
      ))}
    </ActionForm>
  )
}

interface SuggestedRuleProps {
  readonly rule: Suggestion['rules'][number]
  readonly isOnly: boolean
}

function SuggestedRule({ rule, isOnly }: SuggestedRuleProps) {
  const { name, on, topic, per, limit, basis, outliers } = rule
  return (
    <div>
      <p>
        <strong>{limit}</strong> per {per}: {on} <code>{topic ?? 'all topics'}</code>
      </p>
      {basis.map(sentence => (
        <p key={sentence} class="hint">
          {sentence}
        </p>
      ))}
      {outliers.slice(0, OUTLIERS).map(({ key, messages, reason }) => (
        <p key={key}>
          Set apart: <SenderLink id={`${per}:${key}`}>{key}</SenderLink> {reason} ({formatCount(messages)}{' '}
          messages).
        </p>
      ))}
      {outliers.length > OUTLIERS && <p>Set apart: {formatCount(outliers.length - OUTLIERS)} more.</p>}
      <label>
        {isOnly ? 'Name' : 'Name; without one, the rule is not added'}
        <input type="text" name="name" required={isOnly} spellcheck={false} defaultValue={name} />
      </label>
    </div>
  )
}
