import { spawn } from 'node:child_process'
import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { ensureBuilt, ROOT } from '../support/built.ts'
import { IS_LONG_RUN } from '../support/long-run.ts'

const AEDES = join(ROOT, 'node_modules/aedes')
const ATTACH = pathToFileURL(join(import.meta.dirname, 'aedes-suite-attach.js')).href

const SLOWEST = ['not-blocking.js', 'drain-timeout.js', 'keep-alive.js']

/** aedes' own tests, as its package ships them, the slowest first. `drain-toxiproxy.js` needs a server in Docker. */
const FILES = [
  ...SLOWEST,
  ...readdirSync(join(AEDES, 'test')).filter(
    name => /\.(js|cjs)$/.test(name) && name !== 'drain-toxiproxy.js' && !SLOWEST.includes(name),
  ),
]
const TESTS = 368
/** Of each mode. Most of the time the tests wait. */
const PROCESSES = 3
const ATTEMPTS = 5

const folder = mkdtempSync(join(tmpdir(), 'topicgate-aedes-'))
afterAll(() => rmSync(folder, { recursive: true, force: true }))

const limits = {
  rules: [
    { name: 'topics', topic: '{a}/#', per: ['client', 'a'], limit: '1000000/s', exceeded: 'drop' },
    { name: 'all', per: 'client', limit: '1000000/s', exceeded: 'throttle' },
    { name: 'bytes', per: 'ip', limit: '1000MB/s', exceeded: 'drop' },
    { name: 'subscribes', on: 'subscribe', per: 'client', limit: '1000000/s', exceeded: 'reject' },
    { name: 'connects', on: 'connect', per: 'ip', limit: '1000000/s', exceeded: 'throttle' },
    { name: 'deliveries', on: 'deliver', per: 'client', limit: '1000000/s', exceeded: 'drop' },
  ],
}
const urgent = {
  name: 'urgent',
  when: { payload: { field: 'priority', equals: 'emergency' } },
  limit: '1000000/s per client',
}

/** The last one does what the others do, and more: it is enough for a short run. */
const MODES = [
  ['an empty gate', undefined],
  ['generous limits on all four actions', limits],
  ['generous limits and an exemption by payload', { exempt: [urgent], ...limits }],
] as const
const modes = IS_LONG_RUN ? MODES.slice(0, 2) : MODES.slice(2)

interface Run {
  readonly passed: number
  readonly failed: readonly string[]
}

interface Attached {
  /** Undefined for a gate without rules. */
  readonly policy: object | undefined
  /** Gets a line for each broker that is limited. */
  readonly log: string
}

function runFile(file: string, attached: Attached | undefined): Promise<Run> {
  const args = ['--test-reporter=tap', join('test', file)]
  const env = { ...process.env }
  if (attached !== undefined) {
    env.NODE_OPTIONS = `--import ${ATTACH}`
    env.AEDES_SUITE_LOG = attached.log
    env.AEDES_SUITE_POLICY = attached.policy === undefined ? '' : JSON.stringify(attached.policy)
  }
  const child = spawn(process.execPath, args, {
    cwd: AEDES,
    env,
    stdio: ['ignore', 'pipe', 'ignore'],
    timeout: 120_000,
  })
  let tap = ''
  child.stdout.on('data', chunk => {
    tap += chunk
  })
  return new Promise(resolve => {
    child.once('close', () => {
      const failed = [...tap.matchAll(/^not ok \d+ - (.*)$/gm)].map(([, name]) => `${file}: ${name}`)
      const passed = /^# pass (\d+)$/m.exec(tap)
      if (passed === null) failed.push(`${file}: ended without a result`)
      resolve({ passed: Number(passed?.[1] ?? 0), failed })
    })
  })
}

/**
 * Some of aedes' tests are given 50 ms. A file that failed is run again, each time beside plain aedes: what a busy
 * machine makes fail there, too, is not the limiter's fault.
 */
async function runAgain(file: string, attached: Attached): Promise<Run> {
  let run = await runFile(file, attached)
  for (let left = ATTEMPTS - 1; left > 0 && run.failed.length > 0; left--) {
    const plain = await runFile(file, undefined)
    const failed = run.failed.filter(name => !plain.failed.includes(name))
    if (failed.length === 0) return { passed: run.passed + run.failed.length, failed }
    run = await runFile(file, attached)
  }
  return run
}

async function runAll(attached: Attached): Promise<Run> {
  const left = [...FILES]
  const runs: Run[] = []
  const suspects: string[] = []
  const work = async (): Promise<void> => {
    for (let file = left.shift(); file !== undefined; file = left.shift()) {
      const run = await runFile(file, attached)
      if (run.failed.length > 0) suspects.push(file)
      else runs.push(run)
    }
  }
  await Promise.all(Array.from({ length: PROCESSES }, work))
  for (const file of suspects) runs.push(await runAgain(file, attached))
  return {
    passed: runs.reduce((sum, { passed }) => sum + passed, 0),
    failed: runs.flatMap(({ failed }) => failed),
  }
}

beforeAll(ensureBuilt)

describe('the tests of aedes itself', () => {
  it.concurrent.each(modes)(
    'all pass with %s attached',
    async (name, rules) => {
      const log = join(folder, name.replaceAll(' ', '-'))
      const policy = rules && { version: 1, ...rules }
      expect(await runAll({ policy, log })).toEqual({ passed: TESTS, failed: [] })
      expect(readFileSync(log, 'utf8').split('\n').length).toBeGreaterThan(200)
    },
    900_000,
  )
})
