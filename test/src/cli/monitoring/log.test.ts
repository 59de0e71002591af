import { describe, expect, it } from 'vitest'
import { createLogger, formatLogLine } from '../../../../src/cli/monitoring/log.ts'
import { fakeTerminal } from '../fake-terminal.ts'

const plain = (_style: string, text: string): string => text

describe('the log', () => {
  it('is JSON lines where nobody watches', async () => {
    const terminal = fakeTerminal()
    const log = createLogger('info', false, terminal)
    log.debug('too much')
    log.info({ port: 1883 }, 'ready')
    await new Promise<void>(resolve => terminal.stdout.end(() => resolve()))
    expect(JSON.parse(terminal.out())).toMatchObject({ level: 30, port: 1883, msg: 'ready' })
  })

  it('is readable on a screen, and untrusted text cannot control it', () => {
    const line = JSON.stringify({
      level: 40,
      time: '2026-01-31T12:34:56.789Z',
      client: 'a\u001b[2J',
      msg: 'refused',
      err: { message: 'why' },
    })
    expect(formatLogLine(line, plain)).toBe('12:34:56 warn  refused  client a�[2J\n  why\n')
  })

  it('leaves lines out when nobody reads it, and says how many', async () => {
    const terminal = fakeTerminal()
    const log = createLogger('info', true, terminal)
    const long = 'x'.repeat(100_000)
    for (let n = 0; n < 50; n++) log.info(long)
    expect(terminal.stdout.writableLength).toBeLessThan(1_300_000)
    await new Promise<void>(resolve => terminal.stdout.once('drain', resolve))
    log.info('read again')
    await new Promise<void>(resolve => terminal.stdout.end(() => resolve()))
    const lines = terminal
      .out()
      .trim()
      .split('\n')
      .map(line => JSON.parse(line) as Record<string, unknown>)
    expect(lines.at(-1)).toMatchObject({ msg: 'read again' })
    expect(lines.at(-2)).toMatchObject({ leftOut: 50 - (lines.length - 2) })
  })
})
