const SLOTS = 16_384

const TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1
  return crc
})

/**
 * Returns the Redis Cluster slot of an ASCII key: CRC16 (XMODEM) of the text in its first braces, or of the whole key
 * if there is none (Redis Cluster specification, "Hash tags").
 */
export function slotOf(key: string): number {
  const open = key.indexOf('{')
  const close = open < 0 ? -1 : key.indexOf('}', open + 1)
  const tagged = close > open + 1
  let crc = 0
  for (let at = tagged ? open + 1 : 0; at < (tagged ? close : key.length); at++) {
    crc = ((crc << 8) & 0xffff) ^ TABLE[(crc >> 8) ^ (key.charCodeAt(at) & 0xff)]!
  }
  return crc % SLOTS
}
