import { useState } from 'preact/hooks'
import type { Range, Senders, Status, Summary } from '../api/types.ts'
import { Choices } from '../components/choices.tsx'
import { DecisionGroups } from '../components/decision-groups.tsx'
import { Icon } from '../components/icon.tsx'
import { KeyNumbers } from '../components/key-numbers.tsx'
import { LiveRefusals } from '../components/live-refusals.tsx'
import { SenderLink } from '../components/sender-link.tsx'
import { TopRefused } from '../components/top-refused.tsx'
import { TrafficPanel } from '../components/traffic-panel.tsx'
import { describeSituation } from '../format/describe-situation.ts'
import { useResource } from '../state/use-resource.ts'

const TOP_MS = 1_500
const RANGES: readonly Range[] = ['1h', '24h', '7d']

export function OverviewPage({ status }: { readonly status: Status }) {
  const [range, setRange] = useState<Range>('1h')
  const { data: summary } = useResource<Summary>(`summary?range=${range}`, TOP_MS)
  const { data: senders } = useResource<Senders>(`senders?range=${range}`, TOP_MS)
  if (summary === undefined || senders === undefined) return <p class="starting">Loading …</p>
  const situation = describeSituation(status, summary, senders)
  return (
    <>
      <h1 class="visually-hidden">Overview</h1>
      <p class={`banner ${situation.tone}`}>
        <Icon name={situation.tone} />{' '}
        <span>
          {situation.sender && (
            <>
              <SenderLink id={situation.sender} />{' '}
            </>
          )}
          {situation.text}
        </span>
      </p>
      <KeyNumbers status={status} summary={summary} />
      <TrafficPanel summary={summary} policyAppliedAtMs={status.policy.appliedAtMs} />
      <section class="panel" aria-labelledby="top-title">
        <div class="panel-head">
          <h2 id="top-title">Most refused</h2>
          <Choices label="Range of most refused" options={RANGES} chosen={range} onChoose={setRange} />
        </div>
        <TopRefused summary={summary} senders={senders} />
      </section>
      <LiveRefusals />
      {summary.groups && <DecisionGroups groups={summary.groups} />}
    </>
  )
}
