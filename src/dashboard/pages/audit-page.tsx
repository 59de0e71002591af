import type { Audit } from '../api/types.ts'
import { AuditTable } from '../components/audit-table.tsx'
import { ScrollArea } from '../components/scroll-area.tsx'
import { useResource } from '../state/use-resource.ts'

const AUDIT_MS = 10_000

/** Every change, with author and reason. */
export function AuditPage() {
  const { data: audit } = useResource<Audit>('audit?limit=200', AUDIT_MS)
  return (
    <section class="panel" aria-labelledby="audit-title">
      <h1 id="audit-title">Audit</h1>
      <ScrollArea label="Table of changes">{audit && <AuditTable records={audit.records} />}</ScrollArea>
    </section>
  )
}
