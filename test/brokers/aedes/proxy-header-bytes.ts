const SIGNATURE = Buffer.from('0d0a0d0a000d0a515549540a', 'hex')

/** A PROXY protocol version 2 header. `command` 1 is PROXY, 0 LOCAL; `family` 0x11 TCP over IPv4, 0x21 over IPv6. */
export function proxyV2(
  command: number,
  family: number,
  addresses: Buffer,
  extensions = Buffer.alloc(0),
): Buffer {
  const length = Buffer.alloc(2)
  length.writeUInt16BE(addresses.length + extensions.length)
  return Buffer.concat([SIGNATURE, Buffer.from([0x20 | command, family]), length, addresses, extensions])
}
