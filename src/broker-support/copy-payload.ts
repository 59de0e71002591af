/**
 * Copies a payload out of the socket chunk of which it is a small part. Why: a held message would keep the whole chunk
 * in memory.
 */
export function copyPayload(packet: { payload?: string | Buffer | undefined }): void {
  const { payload } = packet
  if (!(payload instanceof Buffer) || payload.buffer.byteLength < 2 * payload.length) return
  // Not from Buffer's pool, which would be kept in memory as well.
  const copy = Buffer.allocUnsafeSlow(payload.length)
  payload.copy(copy)
  packet.payload = copy
}
