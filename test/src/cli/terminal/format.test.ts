import { describe, expect, it } from 'vitest'
import {
  formatExactWait,
  formatShare,
  formatTable,
  formatWait,
  sanitizeForTerminal,
} from '../../../../src/cli/terminal/format.ts'

describe('formats', () => {
  it.each([
    [0, '0ms'],
    [850, '850ms'],
    [1_500, '1.5s'],
    [59_000, '59s'],
    [125_000, '2m 5s'],
    [3_600_000, '1h'],
    [11_040_000, '3h 4m'],
    [176_400_000, '2d 1h'],
    [Infinity, 'never'],
  ])('a wait of %d ms is %s', (ms, text) => {
    expect(formatWait(ms)).toBe(text)
  })

  describe('formatExactWait', () => {
    it.each([
      [0, '0ms'],
      [1, '1ms'],
      [1_000, '1s'],
      [1_001, '1001ms'],
      [90_000, '90s'],
      [7_200_000, '2h'],
      [2_419_200_000, '28d'],
      [Infinity, 'never'],
    ])('formats %i ms without rounding it', (ms, text) => {
      expect(formatExactWait(ms)).toBe(text)
    })
  })

  it('a share of nothing is nothing', () => {
    expect([formatShare(0, 0), formatShare(1, 4)]).toEqual(['0.0 %', '25.0 %'])
  })

  it('untrusted text cannot control the terminal or fill it', () => {
    expect(sanitizeForTerminal('a\u001b[2Jb\r\nc\u202e\u2028')).toBe('a�[2Jb��c��')
    expect(sanitizeForTerminal('x'.repeat(1_000))).toHaveLength(80)
  })

  it('columns stand in line, numbers to the right', () => {
    expect(
      formatTable(
        ['rule', 'n'],
        [
          ['a', '1,000'],
          ['long name', '5'],
        ],
      ),
    ).toEqual(['rule           n', 'a          1,000', 'long name      5'])
  })
})
