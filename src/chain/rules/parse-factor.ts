import { policyError } from '../../core/errors.ts'
import { quote } from '../../core/units.ts'

const REMEDY = 'write x and a number with at most three decimals, as x0.5 or x5'
const LARGEST = 1_000_000

/** Returns `x0.5` or `x5` in whole thousandths, at least 1. Throws PolicyError. */
export function parseFactor(text: string): number {
  const match = typeof text === 'string' ? /^x\s?(\d{1,7})(?:\.(\d{1,3}))?$/.exec(text.trim()) : null
  const thousandths = match ? Number(match[1]) * 1000 + Number((match[2] ?? '').padEnd(3, '0')) : 0
  if (thousandths >= 1 && thousandths <= LARGEST * 1000) return thousandths
  throw policyError('', `${quote(text)} is not a factor`, REMEDY)
}
