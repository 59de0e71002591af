import { useState } from 'preact/hooks'
import type { Rule, RuleDetail, Rules, TopList } from '../api/types.ts'
import { OutcomeTag } from '../components/outcome-tag.tsx'
import { RuleEnforcement } from '../components/rule-enforcement.tsx'
import { ScrollArea } from '../components/scroll-area.tsx'
import { SenderLink } from '../components/sender-link.tsx'
import { ShareBar } from '../components/share-bar.tsx'
import { TableHead } from '../components/table-head.tsx'
import { describeLimit } from '../format/describe-rule.ts'
import { formatCount, formatShare } from '../format/format.ts'
import { useResource } from '../state/use-resource.ts'

const RULES_MS = 3_000
const COLUMNS = 8

interface RulesPageProps {
  readonly canChange: boolean
  readonly isMakingRule: boolean
  readonly onMakeRule: () => void
}

/** Rules in their order, with what they refuse and what those in shadow would refuse. */
export function RulesPage({ canChange, isMakingRule, onMakeRule }: RulesPageProps) {
  const { data } = useResource<Rules>('rules?limit=500', RULES_MS)
  const [open, setOpen] = useState<string>()
  return (
    <section class="panel" aria-labelledby="rules-title">
      <div class="panel-head">
        <h1 id="rules-title">Rules {data && <span class="count">{data.total}</span>}</h1>
        {canChange && (
          <button type="button" aria-expanded={isMakingRule} onClick={onMakeRule}>
            Make a shadow rule
          </button>
        )}
      </div>
      <ScrollArea label="Table of rules">
        <table>
          <caption class="visually-hidden">Rules with their counts since the start</caption>
          <TableHead
            columns={[
              'Rule',
              'Limit',
              'Outcome',
              '#Asked',
              '#Refused',
              '#Share refused',
              '#In shadow',
              '#Mean left',
            ]}
          />
          <tbody>
            {data?.rules.map(rule => (
              <RuleRows
                key={rule.name}
                rule={rule}
                isOpen={rule.name === open}
                canChange={canChange}
                onToggle={() => setOpen(rule.name === open ? undefined : rule.name)}
              />
            ))}
          </tbody>
        </table>
      </ScrollArea>
    </section>
  )
}

interface RuleRowsProps {
  readonly rule: Rule
  readonly isOpen: boolean
  readonly canChange: boolean
  readonly onToggle: () => void
}

function RuleRows({ rule, isOpen, canChange, onToggle }: RuleRowsProps) {
  const { name, enabled, shadowShare, on, pattern, per, total, denied, shadow, meanRemaining } = rule
  // In shadow, only what a rule would refuse is counted.
  const isCounted = shadowShare < 1 || total > 0
  return (
    <>
      <tr>
        <th scope="row" class="name">
          <button type="button" class="link" aria-expanded={isOpen} onClick={onToggle}>
            {name}
          </button>
          <span class="hint">
            {on} {pattern ?? 'all topics'}
          </span>
        </th>
        <td>
          {describeLimit(rule)}
          <span class="hint">{per.length === 0 ? 'in total' : `per ${per.join(', ')}`}</span>
        </td>
        <td>
          <OutcomeTag outcome={!enabled ? 'disabled' : shadowShare === 1 ? 'in shadow' : rule.outcome} />
          {shadowShare % 1 > 0 && <span class="hint">{formatShare(shadowShare, 1)} in shadow</span>}
        </td>
        <td class="number">{isCounted ? formatCount(total) : '–'}</td>
        <td class="number">{isCounted ? formatCount(denied) : '–'}</td>
        <td class="number">
          {isCounted ? formatShare(denied, total) : '–'}
          {denied > 0 && <ShareBar share={denied / total} tone="blocked" />}
        </td>
        <td class="number">{shadowShare + shadow > 0 ? formatCount(shadow) : '–'}</td>
        <td class="number">{meanRemaining === null ? '–' : formatCount(meanRemaining)}</td>
      </tr>
      {isOpen && (
        <tr>
          <td colSpan={COLUMNS}>
            <div class="rule-details">
              {canChange && rule.editable && <RuleEnforcement rule={rule} />}
              <RuleViolations rule={rule} />
            </div>
          </td>
        </tr>
      )}
    </>
  )
}

/** Who exceeds a rule, by scope. */
function RuleViolations({ rule: { name, description } }: { readonly rule: Rule }) {
  const { data } = useResource<RuleDetail>(`rules/${encodeURIComponent(name)}`, RULES_MS)
  const { clients, users, ips, topics } = data?.violations ?? {}
  return (
    <>
      {description && <p>{description}</p>}
      <ViolationList title="Clients" list={clients} part="client" />
      <ViolationList title="Users" list={users} part="user" />
      <ViolationList title="Addresses" list={ips} part="ip" />
      <ViolationList title="Topics" list={topics} />
    </>
  )
}

interface ViolationListProps {
  readonly title: string
  readonly list: TopList | undefined
  /** Part of the sender that the names are; none for topics. */
  readonly part?: string | undefined
}

function ViolationList({ title, list, part }: ViolationListProps) {
  return (
    <div>
      <h2>{title}</h2>
      <ul>
        {list?.list.slice(0, 5).map(({ name, count }) => (
          <li key={name}>
            {part === undefined ? name : <SenderLink id={`${part}:${name}`}>{name}</SenderLink>}{' '}
            <span class="number">{formatCount(count)}</span>
          </li>
        ))}
        {list?.list.length === 0 && <li class="empty">none</li>}
      </ul>
    </div>
  )
}
