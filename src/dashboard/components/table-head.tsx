interface TableHeadProps {
  /** Titles; those of columns with numbers begin with `#`, and an empty one belongs to a column of buttons. */
  readonly columns: readonly string[]
}

export function TableHead({ columns }: TableHeadProps) {
  return (
    <thead>
      <tr>
        {columns.map(title =>
          title === '' ? (
            <th key={title} scope="col">
              <span class="visually-hidden">Action</span>
            </th>
          ) : (
            <th key={title} scope="col" class={title.startsWith('#') ? 'number' : undefined}>
              {title.replace('#', '')}
            </th>
          ),
        )}
      </tr>
    </thead>
  )
}
