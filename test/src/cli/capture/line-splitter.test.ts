import { describe, expect, it } from 'vitest'
import { LineBlocks, LineError, splitLines } from '../../../../src/cli/capture/line-splitter.ts'
import { MAX_SIZES } from '../../../../src/core/max-sizes.ts'
import { fc } from '../properties.ts'

function split(...chunks: (Buffer | string)[]): string[] {
  const blocks = new LineBlocks()
  const whole = [...chunks.map(chunk => blocks.push(Buffer.from(chunk))), blocks.end()]
  return whole.flatMap(block => [...splitLines(block)])
}

describe('LineBlocks', () => {
  it('cuts at line feeds; the last one may be missing', () => {
    expect(split('a\nb\n')).toEqual(['a', 'b'])
    expect(split('a\n\nb')).toEqual(['a', '', 'b'])
    expect(split('')).toEqual([])
  })

  it('gives the same lines wherever the chunks end, inside of a character too', () => {
    const text = '{"topic":"straße/日本"}\n\nend'
    const bytes = Buffer.from(text)
    fc.assert(
      fc.property(fc.array(fc.nat({ max: bytes.length }), { maxLength: 6 }), cuts => {
        const ends = [...cuts.toSorted((a, b) => a - b), bytes.length]
        const chunks = ends.map((end, index) => bytes.subarray(index === 0 ? 0 : ends[index - 1], end))
        expect(split(...chunks)).toEqual(text.split('\n'))
      }),
    )
  })

  it('leaves out the mark some programs put in front', () => {
    expect(split('\uFEFFa\n\uFEFFb')).toEqual(['a', '\uFEFFb'])
  })

  it('refuses what is not UTF-8', () => {
    expect(() => split(Buffer.from([0x61, 0xff, 0x0a]))).toThrow(new LineError('the line is not UTF-8'))
  })

  it('refuses a line without end before it fills the memory', () => {
    const blocks = new LineBlocks()
    const chunk = Buffer.alloc(MAX_SIZES.captureLineBytes / 4, 0x61)
    for (let n = 0; n < 4; n++) expect(blocks.push(chunk)).toHaveLength(0)
    expect(() => blocks.push(Buffer.from('a'))).toThrow(/longer than 16777216 bytes/)
    expect(() => split(Buffer.alloc(MAX_SIZES.captureLineBytes + 1, 0x61), '\n')).toThrow(LineError)
  })
})
