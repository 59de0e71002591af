import { describe, expect, it } from 'vitest'
import type { ConditionSpec } from '../../../src/conditions/condition.ts'
import { holds, pathsOf, problemsOf } from './conditions.ts'

const sizesHeld = (size: NonNullable<ConditionSpec['size']>, sizes: readonly number[]): readonly boolean[] =>
  sizes.map(bytes => holds({ size }, { size: bytes }))

describe('size', () => {
  it('includes both ends', () => {
    expect(sizesHeld({ min: 10, max: 20 }, [9, 10, 20, 21])).toEqual([false, true, true, false])
    expect(sizesHeld({ min: 10 }, [0, 9, 10, 1e9])).toEqual([false, false, true, true])
    expect(sizesHeld({ max: 0 }, [0, 1])).toEqual([true, false])
  })

  it('distinguishes kB (1000 bytes) from KiB (1024)', () => {
    expect(sizesHeld({ max: '10kB' }, [10_000, 10_001])).toEqual([true, false])
    expect(sizesHeld({ max: '10KiB' }, [10_240, 10_241])).toEqual([true, false])
    expect(sizesHeld({ min: '1kB', max: 2000 }, [999, 1000, 2000, 2001])).toEqual([false, true, true, false])
  })

  it('matches no invalid size', () => {
    expect(sizesHeld({ min: 0 }, [Number.NaN])).toEqual([false])
    expect(holds({ size: { max: 5 } }, { size: undefined as never })).toBe(false)
  })

  it.each([
    [{ min: -1 }, 'min'],
    [{ max: 1.5 }, 'max'],
    [{ max: Number.NaN }, 'max'],
    [{ max: 'ten' }, 'max'],
    [{ max: '10 horses' }, 'max'],
    [{ max: null }, 'max'],
    [{ min: true }, 'min'],
    [{ maximum: 5, max: 5 }, 'maximum'],
  ])('refuses %j with a remedy', (size, word) => {
    const [problem, ...others] = problemsOf({ size })
    expect(problem?.path).toBe(`when.size.${word}`)
    expect(problem?.remedy).toBeTruthy()
    expect(others).toEqual([])
  })

  it('refuses a size without bounds, with exchanged ones, or that is not an object', () => {
    expect(pathsOf({ size: {} })).toEqual(['when.size'])
    expect(problemsOf({ size: { min: '2kB', max: '1kB' } })[0]?.remedy).toBe('exchange min and max')
    expect(pathsOf({ size: 5 })).toEqual(['when.size'])
    expect(pathsOf({ size: [1, 2] })).toEqual(['when.size'])
  })
})
