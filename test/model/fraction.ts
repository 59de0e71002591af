/** An exact fraction. The denominator is above 0. */
export interface Fraction {
  readonly top: bigint
  readonly bottom: bigint
}

/** Fractions are reduced only beyond this size: most never need it. */
const LONG = 1n << 80n

export const ZERO: Fraction = { top: 0n, bottom: 1n }

export function fraction(top: bigint, bottom = 1n): Fraction {
  if (bottom < LONG) return { top, bottom }
  const divisor = commonDivisor(top < 0n ? -top : top, bottom)
  return { top: top / divisor, bottom: bottom / divisor }
}

/** Thousandths of a unit, rounded up: the unit costs are counted in. */
export function ofThousandths(units: number): Fraction {
  return { top: BigInt(Math.ceil(Math.round(units * 1e7) / 1e4)), bottom: 1000n }
}

export function add(a: Fraction, b: Fraction): Fraction {
  return a.bottom === b.bottom
    ? fraction(a.top + b.top, a.bottom)
    : fraction(a.top * b.bottom + b.top * a.bottom, a.bottom * b.bottom)
}

export function subtract(a: Fraction, b: Fraction): Fraction {
  return add(a, { top: -b.top, bottom: b.bottom })
}

export function multiply(a: Fraction, b: Fraction): Fraction {
  return fraction(a.top * b.top, a.bottom * b.bottom)
}

export function divide(a: Fraction, b: Fraction): Fraction {
  return b.top < 0n
    ? fraction(-a.top * b.bottom, -a.bottom * b.top)
    : fraction(a.top * b.bottom, a.bottom * b.top)
}

/** Below 0, 0 or above 0, as `a` is less than, equal to or greater than `b`. */
export function compare(a: Fraction, b: Fraction): number {
  const left = a.top * b.bottom
  const right = b.top * a.bottom
  return left < right ? -1 : left > right ? 1 : 0
}

export function greatest(a: Fraction, b: Fraction): Fraction {
  return compare(a, b) < 0 ? b : a
}

export function floor({ top, bottom }: Fraction): bigint {
  const whole = top / bottom
  return top < 0n && whole * bottom !== top ? whole - 1n : whole
}

export function ceiling({ top, bottom }: Fraction): bigint {
  return -floor({ top: -top, bottom })
}

function commonDivisor(a: bigint, b: bigint): bigint {
  return b === 0n ? a : commonDivisor(b, a % b)
}
