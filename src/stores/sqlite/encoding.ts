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
