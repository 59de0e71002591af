const LONE_SURROGATE = /\p{Surrogate}/u

/**
 * Encodes a key or name for SQLite, injective: readable text if it is valid UTF-8, else its UTF-16 code units as
 * bytes. Text never equals bytes in SQLite. Text with a NUL is encoded as bytes, because some drivers cut it there.
 */
export function encodeSqliteText(text: string): string | Buffer {
  return text.includes('\u0000') || LONE_SURROGATE.test(text) ? Buffer.from(text, 'utf16le') : text
}

export function decodeText(kept: string | Uint8Array): string {
  return typeof kept === 'string' ? kept : Buffer.from(kept).toString('utf16le')
}

/**
 * Returns the bytes of a BLOB as every driver accepts them: libsql returns some as ArrayBuffer, node:sqlite as
 * Uint8Array.
 */
export function blobToBuffer(blob: Uint8Array | ArrayBuffer): Buffer {
  if (Buffer.isBuffer(blob)) return blob
  return blob instanceof ArrayBuffer
    ? Buffer.from(blob)
    : Buffer.from(blob.buffer, blob.byteOffset, blob.byteLength)
}
