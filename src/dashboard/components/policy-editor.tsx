import { useRef, useState } from 'preact/hooks'
import { RequestError, request } from '../api/request.ts'
import type { Policy, Problem, Validation } from '../api/types.ts'
import { changePolicy } from '../state/change-policy.ts'
import { ProblemList } from './problem-list.tsx'
import { ReasonForm } from './reason-form.tsx'

interface PolicyEditorProps {
  readonly file: string
  /** Overlay in force. */
  readonly text: string
  readonly etag: Policy['etag']
}

/** Editor of the overlay: checks it, and puts it in force with a reason. */
export function PolicyEditor({ file, text, etag }: PolicyEditorProps) {
  const area = useRef<HTMLTextAreaElement>(null)
  // The overlay and its version as they were when editing began.
  const [edit, setEdit] = useState<{ readonly text: string; readonly base: string }>()
  const [problems, setProblems] = useState<readonly Problem[]>([])
  const [state, setState] = useState('')
  const [isApplying, setIsApplying] = useState(false)
  const edited = edit?.text ?? text

  const check = async (): Promise<void> => {
    const found = await request<Validation>('POST', 'policy/validate', { body: { overlay: edited } })
    setProblems(found.problems)
    setState(found.ok ? 'No problems found.' : '')
  }
  const apply = async (reason: string): Promise<void> => {
    try {
      const body = { overlay: edited, reason }
      await changePolicy('the policy was changed', 'PUT', 'policy/overlay', body, edit?.base ?? etag)
      setProblems([])
      setState('')
      setEdit(undefined)
      setIsApplying(false)
    } catch (error) {
      if (error instanceof RequestError) setProblems(error.problems)
      throw error
    }
  }
  return (
    <section class="panel" aria-labelledby="overlay-title">
      <h2 id="overlay-title">Overlay</h2>
      <label class="hint" htmlFor="overlay-text">
        YAML merged last, rules by name, kept in {file}
      </label>
      <textarea
        id="overlay-text"
        ref={area}
        spellcheck={false}
        value={edited}
        onInput={event => setEdit({ text: event.currentTarget.value, base: edit?.base ?? etag })}
      />
      <div role="status">
        {state}
        <ProblemList problems={problems} tone="critical" onSelect={line => selectLine(area.current!, line)} />
      </div>
      <div class="actions">
        <button type="button" onClick={check}>
          Check
        </button>
        <button type="button" aria-expanded={isApplying} onClick={() => setIsApplying(!isApplying)}>
          Apply …
        </button>
        {edit && (
          <button type="button" onClick={() => setEdit(undefined)}>
            Discard edits
          </button>
        )}
      </div>
      {isApplying && (
        <ReasonForm submitLabel="Put it in force" onCancel={() => setIsApplying(false)} onSubmit={apply} />
      )}
    </section>
  )
}

function selectLine(area: HTMLTextAreaElement, line: number): void {
  const lines = area.value.split('\n')
  const start = lines.slice(0, line - 1).reduce((sum, each) => sum + each.length + 1, 0)
  area.focus()
  area.setSelectionRange(start, start + (lines[line - 1]?.length ?? 0))
}
