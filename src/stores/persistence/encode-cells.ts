/** Returns the cells of a key as bytes: the same memory, not a copy. */
export function encodeCells(cells: Float64Array): Buffer {
  return Buffer.from(cells.buffer, cells.byteOffset, cells.byteLength)
}

/** Returns a copy, aligned for a typed array. */
export function decodeCells(blob: Uint8Array | ArrayBuffer): Float64Array {
  const bytes = blob instanceof ArrayBuffer ? new Uint8Array(blob) : blob
  const cells = new Float64Array(bytes.length >> 3)
  new Uint8Array(cells.buffer).set(bytes.subarray(0, cells.byteLength))
  return cells
}
