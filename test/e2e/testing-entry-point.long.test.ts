import { execFileSync } from 'node:child_process'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { ensureBuilt, ROOT } from '../support/built.ts'
import { runNode } from '../support/program.ts'

/* A project that has topicgate, as it is packed, and vitest, and nothing else. */
const folder = mkdtempSync(join(tmpdir(), 'topicgate-testing-'))

interface Report {
  readonly testResults: readonly {
    readonly name: string
    readonly assertionResults: readonly {
      readonly title: string
      readonly fullName: string
      readonly status: string
    }[]
  }[]
}

interface Told {
  readonly passed: readonly string[]
  readonly failed: readonly string[]
}

/** Runs a test file there; tells the full names of its tests by what became of them. */
async function runThere(name: string, text: string): Promise<Told> {
  writeFileSync(join(folder, name), text)
  const args = ['run', name, '--reporter=json', '--outputFile=report.json']
  const ended = await runNode(['node_modules/vitest/vitest.mjs', ...args], { cwd: folder })
  const path = join(folder, 'report.json')
  const report = JSON.parse(readFileSync(path, 'utf8')) as Report
  rmSync(path)
  const tests = report.testResults.flatMap(({ assertionResults }) => assertionResults)
  expect(tests.length, ended.stdout + ended.stderr).toBeGreaterThan(0)
  const those = (status: string): string[] =>
    tests.flatMap(test => (test.status === status ? [test.fullName] : []))
  const told = { passed: those('passed'), failed: those('failed') }
  expect(told.passed.length + told.failed.length).toBe(tests.length)
  return told
}

beforeAll(async () => {
  await ensureBuilt()
  const packed = execFileSync('npm', ['pack', '--ignore-scripts', '--silent', '--pack-destination', folder], {
    cwd: ROOT,
    encoding: 'utf8',
  })
  const home = join(folder, 'node_modules/topicgate')
  mkdirSync(home, { recursive: true })
  execFileSync('tar', [
    '-xzf',
    join(folder, packed.trim().split('\n').at(-1)!),
    '-C',
    home,
    '--strip-components=1',
  ])
  symlinkSync(join(ROOT, 'node_modules/vitest'), join(folder, 'node_modules/vitest'))
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
}, 120_000)
afterAll(() => rmSync(folder, { recursive: true, force: true }))

it('the suite runs from the package on a store, and passes', async () => {
  const tests = await runThere(
    'store.test.js',
    `import { MemoryStore } from 'topicgate'
    import { storeConformance } from 'topicgate/testing'
    storeConformance('memory', clock => new MemoryStore({ clock }), { histories: 5 })`,
  )
  expect(tests.failed).toEqual([])
  expect(tests.passed.length).toBeGreaterThan(25)
})

it('the suite tells what is wrong with a store', async () => {
  const tests = await runThere(
    'wrong-store.test.js',
    `import { MemoryStore } from 'topicgate'
    import { storeConformance } from 'topicgate/testing'
    class Wrong extends MemoryStore {
      // Charges the denied: each charge is a step of its own.
      decide(charges, options) {
        return charges.map(charge => super.decide([charge], options)[0])
      }
      forget(selector) {
        return Math.min(1, super.forget(selector))
      }
    }
    storeConformance('wrong', clock => new Wrong({ clock }), { histories: 2 })`,
  )
  for (const title of [
    'denied is free: one hard denial charges no rule of that message',
    'decides long histories like the model, number by number',
    'forgets a key, a rule or everything, and says how many keys that were',
    'ran all of its tests',
  ]) {
    expect(tests.failed).toContain(`the wrong store ${title}`)
  }
  expect(tests.passed).toContain('the wrong store a key that is whole again answers like one never seen')
})

it('each law tells of an algorithm that breaks it, and the right one breaks none', async () => {
  const tests = await runThere(
    'algorithms.test.js',
    `import { algorithmConformance, random, FakeClock, Model } from 'topicgate/testing'
    import { twoSpeeds } from './node_modules/topicgate/examples/two-speeds.js'
    const wrong = (name, change) => ({
      ...twoSpeeds,
      name,
      step: (state, nowMs, cost, limit) => change(twoSpeeds.step(state, nowMs, cost, limit), state, nowMs, cost, limit),
    })
    let calls = 0
    const options = { histories: 15, mostPerPeriod: ({ capacity, count }) => capacity + count }
    algorithmConformance(twoSpeeds, options)
    algorithmConformance(wrong('impure', step => ({ ...step, remaining: step.remaining + (calls++ % 2) })), options)
    algorithmConformance(wrong('early', step => (step.retryAfterMs > 1 ? { ...step, retryAfterMs: step.retryAfterMs - 1 } : step)), options)
    algorithmConformance(wrong('short', step => ({ ...step, expireInMs: Math.floor(step.expireInMs / 2) })), options)
    algorithmConformance(
      { ...twoSpeeds, name: 'stumbles', step: ([last, ...rest] = [0, 0, 0], nowMs, ...more) =>
        twoSpeeds.step(last > nowMs ? undefined : [last, ...rest], nowMs, ...more) },
      options,
    )
    algorithmConformance({ ...twoSpeeds, name: 'generous', refund: ([at]) => [at, 0, 0] }, options)
    algorithmConformance(wrong('over', (step, state, nowMs, cost, limit) =>
      twoSpeeds.step(state, nowMs, cost, { ...limit, capacity: 3 * limit.capacity })), options)
    algorithmConformance(wrong('nan', step => ({ ...step, resetMs: NaN })), options)
    void [random, FakeClock, Model]`,
  )
  const PURE = 'is pure: equal input gives equal output, and the given state is not modified'
  const laws = {
    impure: PURE,
    early: 'waiting retryAfterMs is enough, one millisecond less is not',
    short: 'a state past expireInMs equals no state',
    stumbles: 'a clock that steps back admits no more',
    generous: 'consume and refund is the identity, and a refund never raises a key above full',
    over: 'never over: no span of one period admits more than the guarantee',
    nan: PURE,
  }
  for (const [name, law] of Object.entries(laws)) {
    expect(tests.failed).toContain(`the algorithm ${name} ${law}`)
  }
  expect(tests.failed.filter(name => name.startsWith('the algorithm two-speeds'))).toEqual([])
  expect(tests.passed.filter(name => name.startsWith('the algorithm two-speeds'))).toHaveLength(7)
})
