import { describe, expect, it } from 'vitest'
import { PolicyError } from '../../../../src/core/errors.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { slotOf } from '../../../../src/stores/redis/cluster-slot.ts'
import { encodePart, StateKeyBuilder } from '../../../../src/stores/redis/state-keys.ts'
import { random } from '../../../support/random.ts'

describe('state keys', () => {
  it('differ for different rules and keys, whatever their characters', () => {
    const parts = ['', 'a', '~', '#', 'a:b', ':', '{', '}', '}{', 'a}b', '\ud83d', '\ud83e', '\ufffd', 'a b']
    const long = 'k'.repeat(MAX_SIZES.redisKeyPartChars + 1)
    const all = [...parts, long, `${long}!`, encodePart('{'), encodePart(long), '__proto__']
    const keys = new StateKeyBuilder('p')
    const made = all.flatMap(rule => all.map(key => keys.of(rule, key)))
    expect(new Set(made).size).toBe(all.length ** 2)
  })

  it('show short plain names unchanged and hash longer ones', () => {
    expect(new StateKeyBuilder('limits').of('telemetry', 'device-7')).toBe('limits:{device-7}telemetry')
    expect(new StateKeyBuilder('limits').of('total', '')).toBe('limits:{~}total')
    expect(encodePart('k'.repeat(MAX_SIZES.redisKeyPartChars))).toHaveLength(MAX_SIZES.redisKeyPartChars)
    expect(encodePart('k'.repeat(MAX_SIZES.redisKeyPartChars + 1))).toHaveLength(44)
  })

  it('are distinguished from those of a longer prefix with the same beginning', () => {
    const [ownState, other] = [new StateKeyBuilder('a'), new StateKeyBuilder('a:{x}y')]
    expect(ownState.owns(ownState.of('r', 'k'), undefined, undefined)).toBe(true)
    expect(ownState.owns(other.of('r', 'k'), undefined, undefined)).toBe(false)
    expect(ownState.owns('a:{k}', undefined, undefined)).toBe(false)
    expect(ownState.owns('b:{k}r', undefined, undefined)).toBe(false)
    expect(ownState.owns(ownState.of('r', 'k'), 'r', 'k')).toBe(true)
    expect(ownState.owns(ownState.of('r', 'k'), 'q', undefined)).toBe(false)
    expect(ownState.owns(ownState.of('r', 'k'), undefined, 'j')).toBe(false)
  })

  it('are found by patterns in which all characters of a name are escaped', () => {
    expect(new StateKeyBuilder('a*[b]').patternOf('r?', undefined)).toBe('a\\*\\[b\\]:{*}r\\?')
    expect(new StateKeyBuilder('p').patternOf(undefined, '')).toBe('p:{~}*')
  })

  it('reject a prefix that is too long or not of plain letters', () => {
    expect(() => new StateKeyBuilder('p'.repeat(MAX_SIZES.redisKeyPartChars + 1))).toThrow(PolicyError)
    expect(() => new StateKeyBuilder('p\u00e4')).toThrow('is not a valid prefix')
    expect(() => new StateKeyBuilder('p\n')).toThrow(PolicyError)
  })
})

describe('the slot of a key', () => {
  it('follows the specification', () => {
    // "123456789" is the check value of CRC16-XMODEM: 0x31c3.
    expect(slotOf('123456789')).toBe(0x31c3 % 16_384)
    expect(slotOf('foo')).toBe(12_182)
    expect(slotOf('{user1000}.following')).toBe(slotOf('{user1000}.followers'))
    expect(slotOf('foo{}{bar}')).not.toBe(slotOf('bar'))
    expect(slotOf('foo{{bar}}zap')).toBe(slotOf('{bar'))
    expect(slotOf('foo{bar}{zap}')).toBe(slotOf('bar'))
  })

  it('is shared by all rules of a key, and by all keys of a prefix in braces', () => {
    const dice = random(1)
    const spread = new StateKeyBuilder('p')
    const together = new StateKeyBuilder('{p}')
    for (let times = 0; times < 100; times++) {
      const key = `device ${dice.int(0, 1e6)}`
      expect(slotOf(spread.of('a', key))).toBe(slotOf(spread.of('b', key)))
      expect(slotOf(together.of('a', key))).toBe(slotOf('p'))
    }
  })
})
