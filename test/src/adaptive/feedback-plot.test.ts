import { expect, it } from 'vitest'
import { readText } from '../../structure/project.ts'
import { plotFeedback } from './feedback-plot.ts'

it('the plot in docs/adaptive.md matches a run', () => {
  const [, plot] = /^```text plot\n([\s\S]*?)\n```$/m.exec(readText('docs/adaptive.md')) ?? []
  expect(plot).toBe(plotFeedback())
})
