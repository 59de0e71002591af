import { createWriteStream, statSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { pipeline } from 'node:stream/promises'
import { beforeAll, expect, it } from 'vitest'
import { Folder } from '../src/cli/folder.ts'
import { CLI, ensureBuilt } from '../support/built.ts'
import { runNode } from '../support/program.ts'

beforeAll(ensureBuilt, 120_000)

const MESSAGES = 3_000_000
const SENDERS = 10_000
const BATCH = 10_000
const HEAP_MB = 64
/** Prints the peak memory of a process when it ends, in kB. */
const PRINT_PEAK =
  "data:text/javascript,process.on('exit', () => console.error(process.resourceUsage().maxRSS))"

function* batches(): Generator<string> {
  for (let first = 0; first < MESSAGES; first += BATCH) {
    let lines = ''
    for (let number = first; number < first + BATCH; number++) {
      const client = `sensor-${(number * 7_919) % SENDERS}`
      lines += `{"at":${1_700_000_000_000 + number * 20},"topic":"fleet/${client}/telemetry","size":${number % 97},"client":"${client}"}\n`
    }
    yield lines
  }
}

it('a suggestion from three million messages needs less memory than they have bytes', async () => {
  using folder = new Folder()
  const capture = join(folder.path, 'capture.jsonl')
  await pipeline(Readable.from(batches()), createWriteStream(capture))
  const flags = [`--max-old-space-size=${HEAP_MB}`, '--import', PRINT_PEAK]
  const { code, stdout, stderr } = await runNode([...flags, CLI, 'suggest', capture, '--json'])
  expect(code).toBe(0)
  expect(JSON.parse(stdout)).toMatchObject({ messages: MESSAGES, rules: [{ keys: SENDERS }] })
  const peakBytes = Number(stderr) * 1_024
  expect(peakBytes).toBeGreaterThan(HEAP_MB * 1_000_000)
  expect(peakBytes).toBeLessThan(statSync(capture).size)
})
