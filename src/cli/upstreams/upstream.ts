import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls, type SecureContext } from 'node:tls'
import { CommandError, EXIT } from '../command-error.ts'

/** Address of a broker. */
export interface UpstreamAddress {
  /** As in logs and metrics: `host:port`. */
  readonly name: string
  readonly host: string
  readonly port: number
  readonly isTls: boolean
}

const DEFAULT_PORTS: Readonly<Record<string, number>> = { 'mqtt:': 1883, 'mqtts:': 8883 }

/** Parses `mqtt://host:port` or `mqtts://host:port`. Throws CommandError. */
export function parseUpstream(text: string): UpstreamAddress {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const defaultPort = DEFAULT_PORTS[url?.protocol ?? '']
  const isPlain = url !== undefined && /^\/?$/.test(url.pathname) && url.search === '' && url.username === ''
  if (url === undefined || defaultPort === undefined || !isPlain || url.hostname === '') {
    const remedy = 'write mqtt://host:1883 or mqtts://host:8883, without user and path'
    throw new CommandError(`--upstream is not the address of an MQTT broker (${remedy})`, EXIT.usage)
  }
  const port = url.port === '' ? defaultPort : Number(url.port)
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  return { name: `${url.hostname}:${port}`, host, port, isTls: url.protocol === 'mqtts:' }
}

/** Connects to a broker; sends `header` first, before TLS. Rejects if it is not connected in time. */
export function connectToUpstream(
  { host, port, isTls }: UpstreamAddress,
  secureContext: SecureContext | undefined,
  header: ((socket: Socket) => Buffer) | undefined,
  timeoutMs: number,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const tcp = connectTcp({ host, port, noDelay: true })
    let socket: Socket = tcp
    const timer = setTimeout(() => fail(new Error(`no connection within ${timeoutMs} ms`)), timeoutMs)
    const fail = (error: Error): void => {
      clearTimeout(timer)
      tcp.destroy()
      socket.destroy()
      reject(error)
    }
    const succeed = (): void => {
      clearTimeout(timer)
      socket.off('error', fail)
      resolve(socket)
    }
    tcp.once('error', fail)
    tcp.once('connect', () => {
      if (header !== undefined) tcp.write(header(tcp))
      if (!isTls) {
        succeed()
        return
      }
      const servername = isIP(host) === 0 ? host : undefined
      socket = connectTls({ socket: tcp, host, servername, secureContext }, succeed)
      socket.once('error', fail)
    })
  })
}

/** CONNECT of MQTT 3.1.1 with a clean session and without a client id, and DISCONNECT. */
const CONNECT = Uint8Array.of(0x10, 12, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 0, 0, 0)
const DISCONNECT = Uint8Array.of(0xe0, 0)
const CONNACK = 0x20
const CONNACK_MS = 2_000

/** Sends a CONNECT, and closes the socket. Rejects unless a CONNACK follows, whatever its code. */
export function askForConnack(socket: Socket): Promise<void> {
  return new Promise<void>((resolve, reject) => {
    socket.once('data', ([first]: Buffer) =>
      first === CONNACK ? resolve() : reject(new Error('it does not answer as an MQTT broker')),
    )
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('it closes the connection of an MQTT client')))
    socket.setTimeout(CONNACK_MS, () => reject(new Error('it does not answer a CONNECT')))
    socket.write(CONNECT)
  }).finally(() => {
    socket.on('error', () => {})
    socket.end(DISCONNECT)
    socket.destroySoon()
  })
}
