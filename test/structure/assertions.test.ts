import { describe, expect, it } from 'vitest'
import { testsWithoutAssertion } from './assertions.ts'
import { listFiles } from './project.ts'

describe('tests', () => {
  it('assert something, themselves or by a function they call', () => {
    expect(listFiles('test', '.ts').flatMap(testsWithoutAssertion)).toEqual([])
  })
})
