import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { CaptureLineParser, type CaptureRecord } from '../../../../src/cli/capture/capture-format.ts'
import { CompactCaptureCopy } from '../../../../src/cli/suggestion/compact-capture-copy.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { CapturedMessage } from '../../../../src/core/message-from-fields.ts'
import { random } from '../../../support/random.ts'

const PARTS = ['client', 'user', 'device', 'apiKey', 'ip', 'roles', 'tier'] as const

/** What a suggestion uses of a message. */
function essentials({ atMs, message }: CaptureRecord): unknown {
  const { on, topic, sender, protocol } = message
  return [atMs, on, topic, protocol, PARTS.map(part => sender[part])]
}

function record(atMs: number, topic: string): CaptureRecord {
  const message = new CapturedMessage({ topic, sender: { client: topic } }, 'mqtt')
  return { atMs, message, handled: undefined }
}

async function readAll(copy: CompactCaptureCopy): Promise<readonly CaptureRecord[]> {
  const found: CaptureRecord[] = []
  const messages = await copy.read('nats')
  await messages.readMessages(each => void found.push(each))
  return found
}

async function createCopy(): Promise<CompactCaptureCopy> {
  const copy = await CompactCaptureCopy.create()
  onTestFinished(() => copy.close())
  return copy
}

describe('a compact copy', () => {
  it('has the times, topics and senders of all messages, in their order', async () => {
    const copy = await createCopy()
    const chance = random(9)
    const parser = new CaptureLineParser('nats', { allowsOutOfOrder: true })
    const written: unknown[] = []
    for (let number = 0, at = 1_700_000_000_000; number < 5_000; number++) {
      at += chance.int(-50, 100)
      const name = `c${chance.int(1, 20)}`
      const sender = chance.pick([
        { client: name },
        { client: name, user: 'straße "1"', roles: ['a', 'b'] },
        { device: name, ip: '10.0.0.1', apiKey: 'k', tier: 'gold' },
        {},
      ])
      const rest = chance.pick([{}, { size: number }, { payload: { n: 1 } }, { on: 'connect' }, { qos: 1 }])
      const line = JSON.stringify({ at, topic: `t.${chance.int(1, 9)}`, ...sender, ...rest })
      const message = parser.read(Buffer.from(`${line}\n`))!
      written.push(essentials(message))
      await copy.add(message, parser.lineNumber)
    }
    expect((await readAll(copy)).map(essentials)).toEqual(written)
  })

  it('has the same messages however many lines were numbered before', async () => {
    const copy = await createCopy()
    const last = MAX_SIZES.cachedCaptureLines
    const added = [
      [record(0, 'a'), 0],
      [record(5, 'a'), 0],
      // This number is remembered in the place of the first one.
      [record(7, 'b'), last],
      [record(6, 'c'), undefined],
      [record(9, 'b'), last],
    ] as const
    for (const [each, number] of added) await copy.add(each, number)
    const found = await readAll(copy)
    expect(found.map(({ atMs, message }) => [atMs, message.topic, message.sender.client])).toEqual(
      added.map(([{ atMs, message }]) => [atMs, message.topic, message.sender.client]),
    )
  })

  it('is refused with the remedy if there is no folder for it', async () => {
    vi.stubEnv('TMPDIR', '/nowhere')
    onTestFinished(() => void vi.unstubAllEnvs())
    await expect(CompactCaptureCopy.create()).rejects.toThrow(
      '/nowhere: a temporary file cannot be written: ENOENT (set TMPDIR to a folder with more room)',
    )
  })
})
