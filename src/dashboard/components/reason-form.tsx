import { useEffect, useRef, useState } from 'preact/hooks'

interface ReasonFormProps {
  readonly submitLabel: string
  readonly onSubmit: (reason: string) => Promise<void>
  readonly onCancel: () => void
}

/** Asks for the reason of a change, which the audit log keeps. */
export function ReasonForm({ submitLabel, onSubmit, onCancel }: ReasonFormProps) {
  const input = useRef<HTMLInputElement>(null)
  useEffect(() => input.current?.focus(), [])
  const [reason, setReason] = useState('')
  const [error, setError] = useState('')
  const [isSending, setIsSending] = useState(false)
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault()
    setIsSending(true)
    try {
      await onSubmit(reason.trim())
    } catch (cause) {
      setError((cause as Error).message)
      setIsSending(false)
    }
  }
  return (
    <form class="reason-form" onSubmit={submit}>
      <label>
        Reason, for the audit log
        <input
          type="text"
          required
          pattern=".*\S.*"
          ref={input}
          maxLength={200}
          value={reason}
          onInput={event => setReason(event.currentTarget.value)}
        />
      </label>
      {error !== '' && (
        <p class="error-text" role="alert">
          {error}
        </p>
      )}
      <div class="actions">
        <button type="submit" class="primary" disabled={isSending}>
          {submitLabel}
        </button>
        <button type="button" onClick={onCancel}>
          Cancel
        </button>
      </div>
    </form>
  )
}
