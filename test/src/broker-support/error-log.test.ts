import { describe, expect, it } from 'vitest'
import { ErrorLog } from '../../../src/broker-support/error-log.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const ignore = (): void => {}

describe('an error log', () => {
  it('writes one line per text in ten seconds, with the number of those left out', () => {
    const lines: object[] = []
    const clock = new FakeClock()
    const error = (fields: object, text?: string): void => void lines.push({ ...fields, text })
    const log = new ErrorLog(clock, { debug: ignore, info: ignore, warn: ignore, error })
    for (let n = 1; n <= 3; n++) log.logError('a failed', `a${n}`)
    log.logError('b failed', 'b1')
    clock.advance(10_000)
    log.logError('a failed', 'a4')
    expect(lines).toEqual([
      { err: 'a1', suppressed: 0, text: 'a failed' },
      { err: 'b1', suppressed: 0, text: 'b failed' },
      { err: 'a4', suppressed: 2, text: 'a failed' },
    ])
  })

  it('does not throw if the logger throws', () => {
    const error = (): never => {
      throw new Error('full disk')
    }
    const log = new ErrorLog(new FakeClock(), { debug: ignore, info: ignore, warn: ignore, error })
    expect(() => log.logError('a failed', 'a')).not.toThrow()
  })
})
