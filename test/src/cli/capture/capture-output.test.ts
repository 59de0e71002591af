import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import { CaptureOutput } from '../../../../src/cli/capture/capture-output.ts'
import { CaptureRecorder } from '../../../../src/cli/capture/capture-recorder.ts'
import { Pseudonyms } from '../../../../src/cli/capture/captured-message.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { fakeTerminal } from '../fake-terminal.ts'
import { Folder } from '../folder.ts'

function message(client: string, at = 0): { at: number; topic: string; client: string; size: number } {
  return { at, topic: `fleet/a/${client}/t`, client, size: 12 }
}

describe('the output of a capture', () => {
  it('is rotated, and keeps the latest files', async () => {
    using folder = new Folder()
    const file = join(folder.path, 'day.jsonl.gz')
    const options = { file, rotateBytes: 1, files: 3, header: '{"capture":1,"senders":"50%"}' }
    const output = new CaptureOutput(options, fakeTerminal())
    for (let part = 1; part <= 5; part++) {
      output.add(`{"part":${part}}`)
      await output.flush()
    }
    await output.close()
    const names = readdirSync(folder.path).sort()
    expect(names).toEqual(['day.3.jsonl.gz', 'day.4.jsonl.gz', 'day.5.jsonl.gz'])
    const content = gunzipSync(readFileSync(join(folder.path, 'day.5.jsonl.gz'))).toString()
    expect(content).toBe(`${options.header}\n{"part":5}\n`)
  })

  it('is refused beside the later files of another capture, which would be read after it', () => {
    using folder = new Folder()
    folder.file('day.4.jsonl.gz', '')
    const options = { file: join(folder.path, 'day.jsonl.gz'), rotateBytes: 1, files: 3 }
    expect(() => new CaptureOutput(options, fakeTerminal())).toThrow(
      /day\.4\.jsonl\.gz is there from an earlier capture \(remove it, or name another file\)/,
    )
    expect(readdirSync(folder.path)).toEqual(['day.4.jsonl.gz'])
  })

  it('that cannot be written ends the command with the name of the file', () => {
    const options = { file: '/no/such/folder/c.jsonl', rotateBytes: 1, files: 1 }
    expect(() => new CaptureOutput(options, fakeTerminal())).toThrow(
      '/no/such/folder/c.jsonl: the capture cannot be written: ENOENT (name another file)',
    )
  })
})

describe('a recorder of messages', () => {
  const output = (terminal = fakeTerminal()) => new CaptureOutput({ rotateBytes: 1, files: 1 }, terminal)

  it('takes all messages of the sampled senders, and none of the others', async () => {
    const terminal = fakeTerminal()
    const recorder = new CaptureRecorder({ max: Infinity, senders: 0.25 }, output(terminal))
    for (let at = 0; at < 3; at++)
      for (let index = 0; index < 400; index++) recorder.record(message(`d${index}`, at))
    await recorder.close()
    const counts = new Map<string, number>()
    for (const line of terminal.out().trim().split('\n')) {
      const { client } = JSON.parse(line) as { client: string }
      counts.set(client, (counts.get(client) ?? 0) + 1)
    }
    expect([...new Set(counts.values())]).toEqual([3])
    expect(counts.size).toBe(94)
  })

  it('ends after a number of messages, and when the output does not keep up', async () => {
    const enough = new CaptureRecorder({ max: 2, senders: 1 }, output())
    for (let at = 0; at < 5; at++) enough.record(message('d', at))
    await enough.ended
    expect(enough.count).toBe(2)
    const slow = new CaptureRecorder({ max: Infinity, senders: 1 }, output())
    const large = { ...message('d'), topic: 'x'.repeat(MAX_SIZES.capturedChars / 4) }
    for (let count = 0; count < 20; count++) slow.record(large)
    expect(slow.isFull).toBe(true)
    expect(slow.count).toBeLessThan(10)
    await Promise.all([enough.close(), slow.close()])
  })

  it('replaces names by pseudonyms that are the same in one capture only, also in topics', () => {
    const [one, other] = [new Pseudonyms(), new Pseudonyms()]
    const sent = { ...message('d7'), user: 'ann', ip: '10.0.0.7' }
    const first = one.replaceNames(sent)
    expect(JSON.stringify(first)).not.toMatch(/d7|ann|10\.0/)
    expect(first.topic).toBe(`fleet/a/${first.client}/t`)
    expect(one.replaceNames(sent)).toEqual(first)
    expect(one.replaceNames(message('d8')).client).not.toBe(first.client)
    expect(other.replaceNames(sent).client).not.toBe(first.client)
  })
})
