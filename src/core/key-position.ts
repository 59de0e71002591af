import { createHash } from 'node:crypto'

const POSITIONS = 2 ** 32

/**
 * Returns the position of a key from 0 up to, but not including, 1: the first 32 bits of its SHA-256. Every process
 * and version computes the same one, so a share of keys chosen by it stays the same.
 */
export function keyPosition(key: string): number {
  return createHash('sha256').update(key).digest().readUInt32BE(0) / POSITIONS
}
