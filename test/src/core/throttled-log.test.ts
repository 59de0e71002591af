import { describe, expect, it } from 'vitest'
import { SILENT } from '../../../src/core/logger.ts'
import { ThrottledLog } from '../../../src/core/throttled-log.ts'
import { FakeClock } from '../../support/fake-clock.ts'

describe('ThrottledLog', () => {
  it('writes one line in its interval, whatever the text, with the number of lines left out since the last one', () => {
    const lines: object[] = []
    const clock = new FakeClock()
    const logger = {
      ...SILENT,
      error: (fields: object, text?: string) => void lines.push({ ...fields, text }),
    }
    const log = new ThrottledLog(clock, logger, 'error', 500)
    for (const afterMs of [0, 0, 499, 1, 500, 0]) {
      clock.advance(afterMs)
      log.log({ atMs: clock.now() }, `after ${afterMs} ms`)
    }
    const startMs = clock.now() - 1_000
    expect(lines).toEqual([
      { atMs: startMs, suppressed: 0, text: 'after 0 ms' },
      { atMs: startMs + 500, suppressed: 2, text: 'after 1 ms' },
      { atMs: startMs + 1_000, suppressed: 0, text: 'after 500 ms' },
    ])
  })

  it('does not throw, and begins a new interval, if the logger throws', () => {
    let calls = 0
    const warn = (): never => {
      calls++
      throw new Error('full disk')
    }
    const log = new ThrottledLog(new FakeClock(), { ...SILENT, warn })
    log.log({}, 'one')
    log.log({}, 'two')
    expect(calls).toBe(1)
  })
})
