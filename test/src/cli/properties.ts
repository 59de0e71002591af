import fc from 'fast-check'

// One seed for all runs: a failure is the same on every machine.
fc.configureGlobal({ seed: 20_261, numRuns: 200 })

export { fc }
