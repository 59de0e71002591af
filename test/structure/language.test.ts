import { expect, it } from 'vitest'
import { listFiles, readText } from './project.ts'

const BINARY = /\.(png|jpg|gif|ico|woff2?|gz|tgz|db|pcap)$/

it('no file contains an absolute path of a development machine', () => {
  // At the start of a path: a topic may have such levels inside.
  const elsewhere = /(?<![\w+#*.>$}/-])\/(?:work|root|home\/\w+|Users\/\w+)\//
  const found = listFiles('')
    .filter(path => !BINARY.test(path))
    .flatMap(path =>
      readText(path)
        .split('\n')
        .flatMap((line, index) => {
          const place = line.match(elsewhere)?.[0]
          return place ? [`${path}:${index + 1} names ${place}: write the path from the project's root`] : []
        }),
    )
  expect(found).toEqual([])
})
