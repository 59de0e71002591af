import { deflateRawSync, inflateRawSync } from 'node:zlib'

const INDEX_BITS = 15
const REGISTERS = 1 << INDEX_BITS
/** Maximum register value: leading zeros of 32 random bits, plus one. */
const MAX_RANK = 33
const ALPHA = 0.5 / Math.LN2

/**
 * Estimates the number of distinct names without keeping them: HyperLogLog with 32,768 registers, 0.57 % standard
 * error, 32 KiB. Uses the estimator of Otmar Ertl, "New cardinality estimation algorithms for HyperLogLog sketches"
 * (2017), which needs no bias corrections.
 */
export class HyperLogLog {
  readonly #registers = new Uint8Array(REGISTERS)

  /** The hash is fixed, so that counts of several nodes can be merged. */
  add(name: string): void {
    // Two multiplications per character; each state is finalised like MurmurHash3.
    let registerHash = 0x9e3779b9 ^ name.length
    let rankHash = 0x7f4a7c15 ^ name.length
    for (let index = 0; index < name.length; index++) {
      const code = name.charCodeAt(index)
      registerHash = Math.imul(registerHash ^ code, 0x85ebca6b)
      registerHash ^= registerHash >>> 15
      rankHash = Math.imul(rankHash ^ code, 0x5f356495)
      rankHash ^= rankHash >>> 13
    }
    const register = finish(registerHash) >>> (32 - INDEX_BITS)
    const rank = Math.clz32(finish(rankHash ^ Math.imul(registerHash, 0x27d4eb2f))) + 1
    if (rank > this.#registers[register]!) this.#registers[register] = rank
  }

  merge(other: HyperLogLog): void {
    const theirs = other.#registers
    for (let index = 0; index < REGISTERS; index++) {
      if (theirs[index]! > this.#registers[index]!) this.#registers[index] = theirs[index]!
    }
  }

  /** Returns the estimated number of distinct names, a whole number. */
  estimate(): number {
    const ranks = new Array<number>(MAX_RANK + 1).fill(0)
    for (const rank of this.#registers) ranks[Math.min(rank, MAX_RANK)]!++
    let sum = REGISTERS * tau(1 - ranks[MAX_RANK]! / REGISTERS)
    for (let rank = MAX_RANK - 1; rank >= 1; rank--) sum = 0.5 * (sum + ranks[rank]!)
    sum += REGISTERS * sigma(ranks[0]! / REGISTERS)
    return Math.round((ALPHA * REGISTERS * REGISTERS) / sum)
  }

  /** Serialises the registers, about 16 KiB for very many names. */
  toText(): string {
    return deflateRawSync(this.#registers).toString('base64')
  }

  /** Returns undefined for a text that `toText` did not write. */
  static fromText(text: string): HyperLogLog | undefined {
    try {
      const registers = inflateRawSync(Buffer.from(text, 'base64'), { maxOutputLength: REGISTERS })
      if (registers.length !== REGISTERS) return undefined
      const made = new HyperLogLog()
      made.#registers.set(registers.map(rank => Math.min(rank, MAX_RANK)))
      return made
    } catch {
      return undefined
    }
  }
}

function finish(state: number): number {
  let mixed = Math.imul(state ^ (state >>> 16), 0x85ebca6b)
  mixed = Math.imul(mixed ^ (mixed >>> 13), 0xc2b2ae35)
  return mixed ^ (mixed >>> 16)
}

/** Ertl's σ: contribution of empty registers. */
function sigma(share: number): number {
  if (share === 1) return Infinity
  let [x, y, z] = [share, 1, share]
  for (let before = -1; z !== before; y += y) {
    before = z
    x *= x
    z += x * y
  }
  return z
}

/** Ertl's τ: contribution of full registers. */
function tau(share: number): number {
  if (share === 0 || share === 1) return 0
  let [x, y, z] = [share, 1, 1 - share]
  for (let before = -1; z !== before; ) {
    before = z
    x = Math.sqrt(x)
    y *= 0.5
    z -= (1 - x) ** 2 * y
  }
  return z / 3
}
