import type { Policy } from '../api/types.ts'
import { PolicyEditor } from '../components/policy-editor.tsx'
import { ProblemList } from '../components/problem-list.tsx'
import { formatTime } from '../format/format.ts'
import { useResource } from '../state/use-resource.ts'

const POLICY_MS = 10_000

/** The policy in force, and the editor of its overlay. */
export function PolicyPage() {
  const { data: policy } = useResource<Policy>('policy', POLICY_MS)
  if (policy === undefined) return <p class="starting">Loading …</p>
  const { files, overlay, warnings, appliedAtMs, document } = policy
  return (
    <>
      <section class="panel" aria-labelledby="policy-title">
        <h1 id="policy-title">Policy</h1>
        <p>
          {files.length === 0 ? 'In code' : files.join(' + ')}, in force since{' '}
          {formatTime(appliedAtMs, Date.now())}
        </p>
        <ProblemList problems={warnings} tone="warning" />
      </section>
      {overlay !== null && overlay.text !== null && (
        <PolicyEditor file={overlay.file} text={overlay.text} etag={policy.etag} />
      )}
      <section class="panel" aria-labelledby="merged-title">
        <h2 id="merged-title">In force, merged</h2>
        {/* biome-ignore lint/a11y/noNoninteractiveTabindex: without a pointer it can be scrolled only if it has the focus */}
        <pre tabIndex={0}>{JSON.stringify(document, null, 2)}</pre>
      </section>
    </>
  )
}
