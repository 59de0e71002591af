import type { Problem } from '../api/types.ts'
import { Icon } from './icon.tsx'

interface ProblemListProps {
  readonly problems: readonly Problem[]
  readonly tone: 'warning' | 'critical'
  /** Called with the line of a problem that was clicked. */
  readonly onSelect?: ((line: number) => void) | undefined
}

/** Problems of a policy, each with its position, its text and the remedy. */
export function ProblemList({ problems, tone, onSelect }: ProblemListProps) {
  if (problems.length === 0) return null
  return (
    <ul class="problems">
      {problems.map(problem => {
        const { line, column, path, message, remedy } = problem
        const place = line === undefined ? undefined : `line ${line}, column ${column}`
        return (
          <li key={`${place} ${path} ${message}`} class={`banner ${tone}`}>
            <Icon name={tone} />{' '}
            <span>
              {place && onSelect && (
                <button type="button" class="link" onClick={() => onSelect(line!)}>
                  {place}
                </button>
              )}
              {place && !onSelect && place} {path && <code>{path}: </code>}
              {message}
              {remedy && ` (${remedy})`}
            </span>
          </li>
        )
      })}
    </ul>
  )
}
