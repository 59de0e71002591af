import { connect as connectTcp, isIP, type Socket } from 'node:net'
import { connect as connectTls, type SecureContext } from 'node:tls'
import { callIfLate, systemClock } from '../../core/clock.ts'
import { MAX_SIZES } from '../../core/max-sizes.ts'
import type { Dialect } from '../../index.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'

/** Address of a broker. */
export interface UpstreamAddress {
  /** As in logs and metrics: `host:port`. */
  readonly name: string
  readonly protocol: Dialect
  readonly host: string
  readonly port: number
  readonly isTls: boolean
}

interface UpstreamScheme {
  readonly protocol: Dialect
  readonly defaultPort: number
  readonly isTls: boolean
}

const SCHEMES: Readonly<Record<string, UpstreamScheme>> = {
  'mqtt:': { protocol: 'mqtt', defaultPort: 1883, isTls: false },
  'mqtts:': { protocol: 'mqtt', defaultPort: 8883, isTls: true },
  'nats:': { protocol: 'nats', defaultPort: 4222, isTls: false },
  'tls:': { protocol: 'nats', defaultPort: 4222, isTls: true },
}

/** Parses `mqtt://host:port`, `mqtts://…`, `nats://…` or `tls://…`. Throws CommandError. */
export function parseUpstream(text: string): UpstreamAddress {
  const url = URL.canParse(text) ? new URL(text) : undefined
  const scheme = SCHEMES[url?.protocol ?? '']
  const isPlain = url !== undefined && /^\/?$/.test(url.pathname) && url.search === '' && url.username === ''
  if (url === undefined || scheme === undefined || !isPlain || url.hostname === '') {
    const remedy =
      'write mqtt://host:1883, mqtts://host:8883, nats://host:4222 or tls://host:4222, without user and path'
    throw new CommandError(
      `--upstream is not the address of an MQTT broker or NATS server (${remedy})`,
      EXIT.usage,
    )
  }
  const { protocol, defaultPort, isTls } = scheme
  const port = url.port === '' ? defaultPort : Number(url.port)
  const host = url.hostname.replace(/^\[(.*)\]$/, '$1')
  return { name: `${url.hostname}:${port}`, protocol, host, port, isTls }
}

export interface UpstreamConnectOptions {
  readonly secureContext: SecureContext | undefined
  /** Returns the bytes to send first, before TLS. */
  readonly header: ((socket: Socket) => Buffer) | undefined
  /** True if TLS begins before the INFO of a NATS server. */
  readonly isTlsFirst: boolean
  readonly timeoutMs: number
}

/** Connects to a broker. Rejects if it is not connected in time. */
export function connectToUpstream(
  { protocol, host, port, isTls }: UpstreamAddress,
  { secureContext, header, isTlsFirst, timeoutMs }: UpstreamConnectOptions,
): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const tcp = connectTcp({ host, port, noDelay: true })
    let socket: Socket = tcp
    const cancelTimeout = callIfLate(systemClock, timeoutMs, () =>
      fail(new Error(`no connection within ${timeoutMs} ms`)),
    )
    const fail = (error: Error): void => {
      cancelTimeout()
      tcp.destroy()
      socket.destroy()
      reject(error)
    }
    const succeed = (): void => {
      cancelTimeout()
      socket.off('error', fail)
      resolve(socket)
    }
    const startTls = (greeting?: Buffer): void => {
      const servername = isIP(host) === 0 ? host : undefined
      socket = connectTls({ socket: tcp, host, servername, secureContext }, () => {
        if (greeting !== undefined) socket.unshift(greeting)
        succeed()
      })
      socket.once('error', fail)
    }
    tcp.once('error', fail)
    tcp.once('connect', () => {
      if (header !== undefined) tcp.write(header(tcp))
      if (!isTls) succeed()
      else if (protocol === 'nats' && !isTlsFirst) readInfo(tcp, startTls, fail)
      else startTls()
    })
  })
}

const LINE_FEED = 10

/** Reads the INFO that a NATS server sends before TLS. */
function readInfo(socket: Socket, done: (info: Buffer) => void, fail: (error: Error) => void): void {
  let info: Buffer = Buffer.alloc(0)
  const read = (): void => {
    const chunk: Buffer | null = socket.read()
    if (chunk === null) return
    info = Buffer.concat([info, chunk])
    if (info.at(-1) === LINE_FEED) {
      stop()
      done(info)
    } else if (info.length > MAX_SIZES.natsServerLineBytes) fail(new Error('its INFO is too large'))
  }
  const onEnd = (): void => {
    stop()
    fail(new Error('it closes the connection before its INFO'))
  }
  const stop = (): void => {
    socket.off('readable', read)
    socket.off('end', onEnd)
  }
  socket.on('readable', read)
  socket.on('end', onEnd)
}

/** CONNECT of MQTT 3.1.1 with a clean session and without a client id, and DISCONNECT. */
const CONNECT = Uint8Array.of(0x10, 12, 0, 4, 0x4d, 0x51, 0x54, 0x54, 4, 2, 0, 0, 0, 0)
const DISCONNECT = Uint8Array.of(0xe0, 0)
const CONNACK = 0x20
const ANSWER_MS = 2_000

/** How a broker of a protocol is recognised. NATS servers send first. */
const PROBES = {
  mqtt: {
    broker: 'an MQTT broker',
    request: CONNECT,
    last: DISCONNECT,
    isAnswer: (bytes: Buffer): boolean => bytes[0] === CONNACK,
  },
  nats: {
    broker: 'a NATS server',
    request: undefined,
    last: undefined,
    isAnswer: (bytes: Buffer): boolean => bytes.subarray(0, 5).toString('latin1') === 'INFO ',
  },
} as const

/** Checks that a broker answers, and closes the socket. Resolves to its kind, such as `an MQTT broker`. */
export function probeBroker(socket: Socket, protocol: Dialect): Promise<string> {
  const { broker, request, last, isAnswer } = PROBES[protocol]
  return new Promise<string>((resolve, reject) => {
    socket.once('data', bytes =>
      isAnswer(bytes) ? resolve(broker) : reject(new Error(`it does not answer as ${broker}`)),
    )
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('it closes the connection of a client')))
    socket.setTimeout(ANSWER_MS, () => reject(new Error('it does not answer a client')))
    if (request !== undefined) socket.write(request)
  }).finally(() => {
    socket.on('error', () => {})
    if (last === undefined) socket.end()
    else socket.end(last)
    socket.destroySoon()
  })
}
