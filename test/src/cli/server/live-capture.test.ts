import { execFile, execFileSync } from 'node:child_process'
import { closeSync, constants, openSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { gunzipSync } from 'node:zlib'
import { describe, expect, it } from 'vitest'
import type { LiveCaptureOptions } from '../../../../src/cli/capture/live-capture-options.ts'
import { LiveCapture } from '../../../../src/cli/server/live-capture.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { CapturedMessage } from '../../../../src/core/message-from-fields.ts'
import { Gate, limit } from '../../../../src/index.ts'
import { until } from '../../../support/wait.ts'
import { fakeTerminal, runCommand } from '../fake-terminal.ts'
import { Folder } from '../folder.ts'

const WHOLE: Omit<LiveCaptureOptions, 'file'> = {
  senders: 1,
  hashSenders: false,
  rotateBytes: 100_000_000,
  files: 10,
}

interface Logged {
  readonly level: 'info' | 'warn' | 'error'
  readonly text: string
  readonly fields: object
}

interface Setup {
  readonly gate: Gate
  readonly capture: LiveCapture
  readonly log: readonly Logged[]
  send(client: string, topic?: string): void
  metric(name: string, result?: string): number | undefined
}

function setUp(options: LiveCaptureOptions, worker?: { number: number; pseudonymKey: string }): Setup {
  const log: Logged[] = []
  const record =
    (level: Logged['level']) =>
    (fields: object, text = ''): void =>
      void log.push({ level, text, fields })
  const logger = { debug: record('info'), info: record('info'), warn: record('warn'), error: record('error') }
  const gate = new Gate()
  gate.use('#', limit({ name: 'all', limit: '1/day', per: 'client' }))
  const capture = new LiveCapture(gate, options, worker, fakeTerminal(), logger)
  return {
    gate,
    capture,
    log,
    send: (client, topic = `t/${client}`) => void gate.checkSync({ topic, sender: { client }, size: 3 }),
    metric: (name, result) =>
      capture
        .collectMetrics()
        .find(family => family.name === name)
        ?.samples.find(({ labels }) => labels.result === result)?.value,
  }
}

function clientsOf(text: string): readonly string[] {
  return text
    .trim()
    .split('\n')
    .map(line => (JSON.parse(line) as { client: string }).client)
}

describe('the capture of a running server', () => {
  it('has allowed and refused messages, each once, and can be replayed', async () => {
    using folder = new Folder()
    const file = join(folder.path, 'c.jsonl')
    const { gate, capture, log, send, metric } = setUp({ ...WHOLE, file })
    for (const client of ['a', 'a', 'b']) send(client)
    const waiting = new CapturedMessage(
      { topic: 't/w', sender: { client: 'w', apiKey: 'secret' }, size: 1 },
      'mqtt',
    )
    gate.checkSync(waiting)
    gate.checkSync(waiting)
    await capture.close()
    send('late')
    const text = readFileSync(file, 'utf8')
    expect(clientsOf(text)).toEqual(['a', 'a', 'b', 'w'])
    expect(text).not.toContain('secret')
    expect(metric('topicgate_capture_messages_total', 'written')).toBe(4)
    expect(log).toEqual([{ level: 'info', text: 'the capture has ended', fields: { written: 4, lost: 0 } }])
    const policy = folder.file('p.yaml', 'rules: [{ name: all, limit: 1/day, per: client }]')
    const { exitCode, out } = await runCommand(['replay', policy, file])
    expect([exitCode, out]).toEqual([0, expect.stringContaining('3 allowed, 1 refused')])
    await gate.close()
  })

  it('has the sampled senders, under pseudonyms that are the same in the files of all workers', async () => {
    using folder = new Folder()
    const file = join(folder.path, 'c.jsonl.gz')
    const texts: string[] = []
    for (const number of [1, 2]) {
      const options = { ...WHOLE, file, senders: 0.25, hashSenders: true }
      const { gate, capture, send } = setUp(options, { number, pseudonymKey: 'k' })
      for (let index = 0; index < 200; index++) send(`device${index}`)
      await capture.close()
      await gate.close()
      texts.push(gunzipSync(readFileSync(join(folder.path, `c.worker-${number}.jsonl.gz`))).toString())
    }
    const [first = '', second = ''] = texts.map(text => text.replaceAll(/"at":\d+/g, ''))
    expect(first).toBe(second)
    expect(first.startsWith('{"capture":1,"senders":"25%"}\n')).toBe(true)
    expect(first).not.toContain('device')
    expect(first.split('\n').length).toBeGreaterThan(20)
    expect(first.split('\n').length).toBeLessThan(100)
  })

  it('begins behind the files of an earlier run, and keeps so many in all', async () => {
    using folder = new Folder()
    const options = { ...WHOLE, file: join(folder.path, 'c.jsonl'), files: 2 }
    for (const client of ['a', 'b', 'c']) {
      const { gate, capture, send } = setUp(options)
      send(client)
      await capture.close()
      await gate.close()
    }
    expect(readdirSync(folder.path).sort()).toEqual(['c.2.jsonl', 'c.3.jsonl'])
    expect(clientsOf(readFileSync(join(folder.path, 'c.3.jsonl'), 'utf8'))).toEqual(['c'])
  })

  it('ends on a full disk with one line of the log, counts what is lost, and decides as before', async () => {
    const { gate, capture, log, send, metric } = setUp({ ...WHOLE, file: '/dev/full' })
    for (let index = 0; index < 10; index++) send(`d${index}`)
    await until(() => log.length > 0)
    expect(log).toMatchObject([
      { level: 'error', text: 'the capture has ended, because it cannot be written' },
    ])
    expect(String((log[0]!.fields as { err: Error }).err.message)).toContain('ENOSPC')
    send('d0')
    expect(metric('topicgate_capture_healthy')).toBe(0)
    expect(metric('topicgate_capture_messages_total', 'lost')).toBe(11)
    expect(gate.checkSync({ topic: 't/d0', sender: { client: 'd0' }, size: 3 }).allowed).toBe(false)
    await capture.close()
    expect(log.filter(({ level }) => level !== 'info')).toHaveLength(1)
    await gate.close()
  })

  it('leaves messages out while the disk is slower, says so once, and goes on when it takes them', async () => {
    using folder = new Folder()
    const file = join(folder.path, 'pipe.jsonl')
    execFileSync('mkfifo', [file])
    const reader = openSync(file, constants.O_RDONLY | constants.O_NONBLOCK)
    // The pipe takes 64 KiB, so the first batch is being written until it is read.
    const { gate, capture, log, send, metric } = setUp({ ...WHOLE, file })
    const topic = 'x'.repeat(MAX_SIZES.capturedChars / 8)
    for (let index = 0; index < 30; index++) send('d', topic)
    await until(() => metric('topicgate_capture_messages_total', 'lost')! > 0)
    expect(log.map(({ level }) => level)).toEqual(['warn'])
    expect(metric('topicgate_capture_healthy')).toBe(1)
    const lost = metric('topicgate_capture_messages_total', 'lost')!
    const reading = promisify(execFile)('cat', [file], { maxBuffer: 1e9 })
    await capture.close()
    const { stdout: text } = await reading
    closeSync(reader)
    expect(clientsOf(text)).toHaveLength(30 - lost)
    expect(metric('topicgate_capture_messages_total', 'written')).toBe(30 - lost)
    await gate.close()
  })

  it('needs a file for its other options', async () => {
    const { exitCode, err } = await runCommand(['broker', '-p', 'fleet', '--capture-senders', '5%'])
    expect([exitCode, err]).toEqual([2, expect.stringContaining('add --capture day.jsonl.gz')])
  })
})
