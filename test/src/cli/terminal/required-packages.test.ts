import { expect, it } from 'vitest'
import { requirePackages } from '../../../../src/cli/terminal/required-packages.ts'

it('a command names every package it lacks and how to install them', () => {
  expect(() => requirePackages('broker', name => name === 'ws')).toThrow(
    'topicgate broker needs aedes, pino, which is not installed (npm install aedes ws pino)',
  )
})

it('a command whose packages are installed runs', () => {
  expect(() => requirePackages('demo', () => true)).not.toThrow()
})
