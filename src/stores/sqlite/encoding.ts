const LONE_SURROGATE = /\p{Surrogate}/u

/**
 * A key or name as SQLite keeps it, injective: text where UTF-8 can say it, to be read by people; else the UTF-16 code
 * units as bytes. Text never equals bytes in SQLite. A NUL would end a text in some drivers.
 */
export function encodeText(text: string): string | Buffer {
  return text.includes('\u0000') || LONE_SURROGATE.test(text) ? Buffer.from(text, 'utf16le') : text
}

export function decodeText(kept: string | Uint8Array): string {
  return typeof kept === 'string' ? kept : Buffer.from(kept).toString('utf16le')
}

/** The bytes of a BLOB as every driver takes them: libsql gives some as ArrayBuffer, node:sqlite as Uint8Array. */
export function bytesOf(blob: Uint8Array | ArrayBuffer): Buffer {
  if (Buffer.isBuffer(blob)) return blob
  return blob instanceof ArrayBuffer
    ? Buffer.from(blob)
    : Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength)
}

export function encodeCells(cells: Float64Array): Buffer {
  return Buffer.from(cells.buffer, cells.byteOffset, cells.byteLength)
}

/** A copy, aligned as an array of numbers must be. */
export function decodeCells(blob: Uint8Array | ArrayBuffer): Float64Array {
  const bytes = bytesOf(blob)
  const cells = new Float64Array(bytes.length >> 3)
  new Uint8Array(cells.buffer).set(bytes.subarray(0, cells.byteLength))
  return cells
}
