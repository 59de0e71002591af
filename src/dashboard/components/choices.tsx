interface ChoicesProps<T extends string> {
  readonly label: string
  readonly options: readonly T[]
  readonly chosen: T | undefined
  readonly onChoose: (option: T) => void
}

/** Buttons of which one is pressed. */
export function Choices<T extends string>({ label, options, chosen, onChoose }: ChoicesProps<T>) {
  return (
    <fieldset class="choices">
      <legend class="visually-hidden">{label}</legend>
      {options.map(each => (
        <button key={each} type="button" aria-pressed={each === chosen} onClick={() => onChoose(each)}>
          {each}
        </button>
      ))}
    </fieldset>
  )
}
