const SLOTS = 16_384

const TABLE = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit++) crc = crc & 0x8000 ? (crc << 1) ^ 0x1021 : crc << 1
  return crc
})

/**
 * The slot of a key of ASCII characters on Redis Cluster: CRC16 (XMODEM) of what stands between its first braces, of all
 * of it where there is nothing (Redis Cluster specification, "Hash tags").
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
