import { useState } from 'preact/hooks'
import type { Status } from './api/types.ts'
import { Login } from './components/login.tsx'
import { NoticeBar } from './components/notice-bar.tsx'
import { SenderDrawer } from './components/sender-drawer.tsx'
import { ShadowRulePanel } from './components/shadow-rule-panel.tsx'
import { TopBar } from './components/top-bar.tsx'
import { AuditPage } from './pages/audit-page.tsx'
import { EntriesPage } from './pages/entries-page.tsx'
import { OverviewPage } from './pages/overview-page.tsx'
import { PolicyPage } from './pages/policy-page.tsx'
import { RulesPage } from './pages/rules-page.tsx'
import { route } from './state/route.ts'
import { isSignedIn, token } from './state/session.ts'
import { useResource } from './state/use-resource.ts'

const STATUS_MS = 5_000

export function App() {
  return isSignedIn.value ? <Dashboard key={token.value} /> : <Login />
}

function Dashboard() {
  const { data: status, error } = useResource<Status>('status', STATUS_MS)
  const { page, sender } = route.value
  const [isMakingRule, setIsMakingRule] = useState(false)
  if (status === undefined) return <p class="starting">{error ?? 'Loading …'}</p>
  const canChange = status.role !== 'viewer'
  const canChangePolicy = status.role === 'admin' && status.policy.editable
  return (
    <>
      <button type="button" class="skip-link" onClick={focusContent}>
        Skip to content
      </button>
      <TopBar status={status} page={page} />
      <main id="content" tabIndex={-1}>
        {error !== undefined && (
          <p class="banner critical" role="alert">
            {error} What you see is from before.
          </p>
        )}
        {page === 'overview' && <OverviewPage status={status} />}
        {isMakingRule && (
          <ShadowRulePanel isShown={page === 'rules'} onClose={() => setIsMakingRule(false)} />
        )}
        {page === 'rules' && (
          <RulesPage
            canChange={canChangePolicy}
            isMakingRule={isMakingRule}
            onMakeRule={() => setIsMakingRule(!isMakingRule)}
          />
        )}
        {page === 'entries' && <EntriesPage canChange={canChange} />}
        {page === 'policy' && <PolicyPage />}
        {page === 'audit' && <AuditPage />}
      </main>
      {sender === undefined ? <NoticeBar /> : <SenderDrawer key={sender} id={sender} canChange={canChange} />}
    </>
  )
}

/** Moves the focus without a change of the address, which holds the page. */
function focusContent(): void {
  document.getElementById('content')?.focus()
}
