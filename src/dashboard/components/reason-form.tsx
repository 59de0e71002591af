import { ActionForm } from './action-form.tsx'

interface ReasonFormProps {
  readonly submitLabel: string
  readonly onSubmit: (reason: string) => Promise<void>
  readonly onCancel: () => void
}

/** Asks for the reason of a change, which the audit log keeps. */
export function ReasonForm({ submitLabel, onSubmit, onCancel }: ReasonFormProps) {
  return (
    <ActionForm
      submitLabel={submitLabel}
      onSubmit={fields => onSubmit(fields.get('reason') as string)}
      onCancel={onCancel}
    >
      <ReasonField />
    </ActionForm>
  )
}

export function ReasonField() {
  return (
    <label>
      Reason, for the audit log
      <input type="text" name="reason" required pattern=".*\S.*" maxLength={200} />
    </label>
  )
}
