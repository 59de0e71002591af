import { describe, expect, it } from 'vitest'
import { ServerClockOffset } from '../../../../src/stores/redis/server-clock-offset.ts'
import { random } from '../../../support/random.ts'

describe("a server's time", () => {
  it('is unknown until the first reply', () => {
    const time = new ServerClockOffset()
    expect(time.isKnown).toBe(false)
    expect(time.earliest(5_000)).toBe(0)
    expect(time.likeliest(5_000)).toBe(5_000)
  })

  it('is never estimated too late, however long replies take', () => {
    for (let seed = 1; seed <= 200; seed++) {
      const dice = random(seed)
      const offsetMs = dice.int(-1e6, 1e6)
      const time = new ServerClockOffset()
      let nowMs = 1e12
      for (let reply = 0; reply < 20; reply++) {
        const sentMs = nowMs
        const readMs = sentMs + dice.int(0, 50)
        nowMs = readMs + dice.int(0, 50)
        time.learn(sentMs, nowMs, readMs + offsetMs)
        expect(time.earliest(nowMs)).toBeLessThanOrEqual(nowMs + offsetMs)
      }
      expect(Math.abs(time.likeliest(nowMs) - nowMs - offsetMs)).toBeLessThanOrEqual(50)
    }
  })

  it('is learned again after a clock was set', () => {
    const time = new ServerClockOffset()
    time.learn(1_000, 1_010, 5_005)
    time.learn(2_000, 2_010, 9_005)
    expect(time.earliest(2_010)).toBe(9_005)
    time.learn(3_000, 3_010, 1_005)
    expect(time.earliest(3_010)).toBe(1_005)
  })
})
