import { expect, it } from 'vitest'
import { listSources, readText } from './project.ts'

/** Matches an optional property of an interface on one line, but not of classes and parameters. */
const OPTIONAL = /^ {2}(?:readonly )?[\w[\]]+\?: (?!.*[{(,=|]$)(.+)$/

it('optional properties of types accept undefined, for programs with exactOptionalPropertyTypes', () => {
  const found = listSources()
    .filter(path => !path.startsWith('src/cli/'))
    .flatMap(path =>
      readText(path)
        .split('\n')
        .flatMap((line, index) => {
          const type = OPTIONAL.exec(line)?.[1]
          return type === undefined || /\bundefined$|^unknown$/.test(type)
            ? []
            : [`${path}:${index + 1} write ${line.trim()} | undefined`]
        }),
    )
  expect(found).toEqual([])
})
