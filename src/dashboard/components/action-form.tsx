import type { ComponentChildren } from 'preact'
import { useEffect, useRef, useState } from 'preact/hooks'

interface ActionFormProps {
  readonly submitLabel: string
  /** Called with the fields by name. What it rejects with is shown. */
  readonly onSubmit: (fields: FormData) => Promise<void>
  readonly cancelLabel?: string | undefined
  readonly onCancel: () => void
  readonly children: ComponentChildren
}

/** Fields of an action, of which the first gets the focus. */
export function ActionForm({
  submitLabel,
  onSubmit,
  cancelLabel = 'Cancel',
  onCancel,
  children,
}: ActionFormProps) {
  const form = useRef<HTMLFormElement>(null)
  useEffect(() => form.current?.querySelector('input')?.focus(), [])
  const [error, setError] = useState('')
  const [isSending, setIsSending] = useState(false)
  const submit = async (event: Event): Promise<void> => {
    event.preventDefault()
    setError('')
    setIsSending(true)
    try {
      await onSubmit(new FormData(form.current!))
    } catch (cause) {
      setError((cause as Error).message)
      setIsSending(false)
    }
  }
  return (
    <form class="action-form" ref={form} onSubmit={submit}>
      {children}
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
          {cancelLabel}
        </button>
      </div>
    </form>
  )
}
