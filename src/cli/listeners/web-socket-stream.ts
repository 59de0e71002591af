import { Duplex } from 'node:stream'
import type { RawData, WebSocket } from 'ws'
import type { Dialect } from '../../index.ts'

/** Status codes of RFC 6455, 7.4.1. */
const UNSUPPORTED_DATA = 1003

/**
 * Returns the bytes of a WebSocket as a stream. Sends each MQTT packet in its own frame; a text frame closes the
 * connection [MQTT-6.0.0-1].
 */
export function webSocketStream(socket: WebSocket, protocol: Dialect): Duplex {
  const splitter = protocol === 'mqtt' ? new PacketSplitter() : undefined
  const send = (bytes: Buffer, done: (error?: Error | null) => void): void => {
    const frames = splitter === undefined ? [bytes] : splitter.split(bytes)
    const last = frames.pop()
    if (last === undefined) {
      done()
      return
    }
    for (const frame of frames) socket.send(frame, { binary: true })
    socket.send(last, { binary: true }, done)
  }
  const stream = new Duplex({
    read: () => {
      if (socket.isPaused) socket.resume()
    },
    write: (chunk: Buffer, _encoding, done) => send(chunk, done),
    // aedes writes a packet in parts, corked together.
    writev: (chunks, done) => send(Buffer.concat(chunks.map(({ chunk }) => chunk as Buffer)), done),
    final: done => {
      socket.close()
      done()
    },
    destroy: (error, done) => {
      socket.terminate()
      done(error)
    },
  })
  socket.on('message', (data, isBinary) => {
    if (stream.destroyed) return
    if (!isBinary) {
      socket.close(UNSUPPORTED_DATA, 'binary frames are needed')
      stream.destroy()
    } else if (!stream.push(bytesOf(data))) socket.pause()
  })
  socket.on('error', error => stream.destroy(error))
  socket.on('close', () => {
    if (!stream.destroyed) stream.push(null)
  })
  return stream
}

function bytesOf(data: RawData): Buffer {
  if (Array.isArray(data)) return Buffer.concat(data)
  return Buffer.isBuffer(data) ? data : Buffer.from(data)
}

/** Splits a stream of MQTT packets into whole packets; keeps an incomplete one until its rest arrives. */
export class PacketSplitter {
  #rest: Buffer = Buffer.alloc(0)

  split(bytes: Buffer): Buffer[] {
    const all = this.#rest.length === 0 ? bytes : Buffer.concat([this.#rest, bytes])
    const packets: Buffer[] = []
    let start = 0
    for (let end = endOfPacket(all, start); end !== undefined; end = endOfPacket(all, start)) {
      packets.push(all.subarray(start, end))
      start = end
    }
    this.#rest = all.subarray(start)
    return packets
  }
}

/** Returns the end of the packet that begins at `start`; undefined if it is incomplete. */
function endOfPacket(bytes: Buffer, start: number): number | undefined {
  let length = 0
  for (let index = start + 1, factor = 1; index < bytes.length; index++, factor *= 128) {
    const byte = bytes[index]!
    length += (byte & 127) * factor
    if (byte >= 128) continue
    const end = index + 1 + length
    return end <= bytes.length ? end : undefined
  }
  return undefined
}
