import { describe, expect, it } from 'vitest'
import { behaviour } from '../../../src/adaptive/index.ts'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { type Decision, Gate, type Message, PolicyError, type Sender } from '../../../src/index.ts'
import { FakeClock } from '../../support/fake-clock.ts'

const HOUR_MS = 3_600_000
const ALLOWED = { allowed: true } as Decision
const REFUSED = { allowed: false } as Decision

function from(sender: Sender): Message {
  return { topic: 't', on: 'publish', sender, size: 1 }
}

class Scene {
  readonly clock = new FakeClock(0)
  readonly behaviour = behaviour({ clock: this.clock })
  readonly sender: Sender = { client: 'c' }

  tell(allowed: number, refused: number, sender = this.sender): this {
    for (let n = 0; n < allowed; n++) this.behaviour.note(ALLOWED, from(sender))
    for (let n = 0; n < refused; n++) this.behaviour.note(REFUSED, from(sender))
    return this
  }

  nextHour(): this {
    this.clock.advance(HOUR_MS)
    return this
  }
}

describe('behaviour', () => {
  it.each([
    [9, 0, 'usual'],
    [10, 0, 'good'],
    [1_000, 0, 'good'],
    [1_001, 0, 'usual'],
    [96, 4, 'good'],
    [95, 5, 'usual'],
    [10, 10, 'usual'],
    [10, 11, 'abusive'],
    [0, 9, 'usual'],
    [10_000, 0, 'usual'],
    [10_001, 0, 'abusive'],
  ] as const)(
    'after %i passed and %i refused messages in an hour is %s in the next',
    (allowed, refused, behaviourLevel) => {
      const scene = new Scene().tell(allowed, refused).nextHour()
      expect(scene.behaviour.behaviourLevelOf(scene.sender)).toBe(behaviourLevel)
      expect(scene.behaviour.behaviourLevelOf({ client: 'other' })).toBe('usual')
      expect(scene.nextHour().behaviour.behaviourLevelOf(scene.sender)).toBe('usual')
    },
  )

  it('turns abusive at once', () => {
    const scene = new Scene().tell(10, 0).nextHour().tell(4, 6)
    expect(scene.behaviour.behaviourLevelOf(scene.sender)).toBe('abusive')
  })

  it.each([
    ['good', 20, 0, 120],
    ['usual', 0, 0, 100],
    ['abusive', 0, 20, 30],
  ] as const)('if %s scales a limit', (_, allowed, refused, passed) => {
    const scene = new Scene().tell(allowed, refused).nextHour()
    const options = { name: 'all', rate: '1/hour burst 100', per: 'client' } as const
    const gate = new Gate({ clock: scene.clock }).use(scene.behaviour.limit(options))
    let count = 0
    while ((gate.check(from(scene.sender)) as Decision).allowed) count++
    expect(count).toBe(passed)
  })

  it('leaves at least one message of a limit', () => {
    const scene = new Scene().tell(0, 20).nextHour()
    const gate = new Gate({ clock: scene.clock }).use(scene.behaviour.limit({ name: 'all', rate: '1/s' }))
    expect((gate.check(from(scene.sender)) as Decision).allowed).toBe(true)
    scene.clock.advance(1_000)
    expect((gate.check(from(scene.sender)) as Decision).allowed).toBe(true)
  })

  it('counts by user, else API key, else client, for a bounded number of senders', () => {
    const scene = new Scene()
    scene.tell(0, 20, { user: 'u', client: 'a' }).tell(0, 20, { apiKey: 'k' })
    expect(scene.behaviour.behaviourLevelOf({ user: 'u', client: 'b' })).toBe('abusive')
    expect(scene.behaviour.behaviourLevelOf({ apiKey: 'k', client: 'a' })).toBe('abusive')
    expect(scene.behaviour.behaviourLevelOf({ client: 'a' })).toBe('usual')
    for (let n = 0; n < MAX_SIZES.trackedSenders; n++) scene.tell(1, 0, { client: `c${n}` })
    expect(scene.behaviour.size).toBe(MAX_SIZES.trackedSenders)
    expect(scene.behaviour.behaviourLevelOf({ user: 'u' })).toBe('usual')
  })

  it('copes with untrusted names, and refuses invalid limits', () => {
    const scene = new Scene()
    scene.tell(0, 20, { client: '__proto__' }).tell(0, 20, { client: 'x'.repeat(1_000_000) })
    expect(scene.behaviour.behaviourLevelOf({ client: '__proto__' })).toBe('abusive')
    expect(() => scene.behaviour.limit({ name: 'all', rate: 'much' })).toThrow(PolicyError)
  })
})
