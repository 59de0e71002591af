import { spawn } from 'node:child_process'
import { access } from 'node:fs/promises'
import { createInterface } from 'node:readline'
import { CONNECT_TOPIC } from '../../broker-support/connect-topic.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'
import type { CaptureTarget } from './captured-message.ts'

/** Fields of an MQTT packet as `tshark -T ek` names them. */
interface DissectedPacket {
  readonly mqtt_mqtt_msgtype?: string
  readonly mqtt_mqtt_clientid?: string
  readonly mqtt_mqtt_username?: string
  readonly mqtt_mqtt_topic?: string
  readonly mqtt_mqtt_qos?: string
  readonly mqtt_mqtt_retain?: boolean
  /** Payload as `68:69`. */
  readonly mqtt_mqtt_msg?: string
}

interface DissectedFrame {
  readonly timestamp: string
  readonly layers: {
    readonly ip?: { readonly ip_ip_src?: string }
    readonly ipv6?: { readonly ipv6_ipv6_src?: string }
    readonly tcp: {
      readonly tcp_tcp_stream: string
      readonly tcp_tcp_srcport: string
      readonly tcp_tcp_dstport: string
    }
    readonly mqtt?: DissectedPacket | readonly DissectedPacket[]
  }
}

/** Client of a TCP connection, by its CONNECT. */
interface PcapClient {
  readonly port: string
  readonly client: string | undefined
  readonly user: string | undefined
  readonly ip: string | undefined
}

/** Counts of the messages of a recording, and of those that could not be captured. */
export interface PcapSummary {
  /** MQTT packets that were read. */
  packets: number
  /** Published with a topic alias of MQTT 5 in place of the topic. */
  withoutTopic: number
  /** Published by connections that began before the recording: their client is not known. */
  withoutClient: number
  /** Its last packet is not complete, so that it is missing. */
  isCutShort: boolean
}

const CONNECT = '1'
const PUBLISH = '3'
/** Complaint of tshark about a file to which tcpdump is still writing, or was when it was killed. */
const CUT_SHORT = /cut short in the middle of a packet\./

/**
 * Captures connects and publishes of MQTT clients over plain TCP from a recording of tcpdump, which tshark reads. Rejects
 * with CommandError if tshark is missing or cannot read the file. A file that ends within a packet is read up to it.
 */
export async function captureFromPcap(
  file: string,
  port: number,
  target: CaptureTarget,
): Promise<PcapSummary> {
  await access(file).catch((cause: unknown) => {
    throw new CommandError(`${file}: there is no such file (name a recording of tcpdump)`, EXIT.failed, {
      cause,
    })
  })
  const filter = `mqtt.msgtype == ${CONNECT} || mqtt.msgtype == ${PUBLISH}`
  const layers = 'ip ipv6 tcp mqtt'
  const args = ['-n', '-r', file, '-d', `tcp.port==${port},mqtt`, '-Y', filter, '-T', 'ek', '-J', layers]
  const tshark = spawn('tshark', args, { stdio: ['ignore', 'pipe', 'pipe'] })
  let complaints = ''
  tshark.stderr.on('data', (chunk: Buffer) => {
    if (complaints.length < 4_096) complaints += chunk.toString()
  })
  const ended = new Promise<number | null>((resolve, reject) => {
    tshark.on('error', cause => {
      const remedy = 'install it: apt-get install tshark, or brew install wireshark'
      reject(
        new CommandError(`a pcap is read by tshark, which cannot be started (${remedy})`, EXIT.unavailable, {
          cause,
        }),
      )
    })
    tshark.on('close', resolve)
  })
  // It is awaited after the output, which ends first.
  ended.catch(() => {})
  const reader = new PcapReader(target)
  try {
    for await (const line of createInterface({ input: tshark.stdout })) {
      // Each frame has a line of an index before it.
      if (!line.startsWith('{"index"')) reader.readFrame(JSON.parse(line) as DissectedFrame)
      await target.drained()
      if (target.isFull) break
    }
  } finally {
    tshark.kill()
  }
  const exitCode = await ended
  if (CUT_SHORT.test(complaints)) reader.summary.isCutShort = true
  else if (exitCode !== 0 && !target.isFull) {
    const reason = complaints.split('\n').findLast(line => /tshark: /.test(line)) ?? `exit code ${exitCode}`
    throw new CommandError(
      `${file}: ${reason.trim()} (record it with tcpdump -w FILE port ${port})`,
      EXIT.failed,
    )
  }
  return reader.summary
}

/** Reads frames in their order, and remembers the client of each connection. */
class PcapReader {
  readonly summary: PcapSummary = { packets: 0, withoutTopic: 0, withoutClient: 0, isCutShort: false }
  readonly #target: CaptureTarget
  readonly #clients = new Map<string, PcapClient>()

  constructor(target: CaptureTarget) {
    this.#target = target
  }

  readFrame({ timestamp, layers: { ip, ipv6, tcp, mqtt = [] } }: DissectedFrame): void {
    const at = Number(timestamp)
    const address = ip?.ip_ip_src ?? ipv6?.ipv6_ipv6_src
    const { tcp_tcp_stream: stream, tcp_tcp_srcport: port } = tcp
    for (const packet of Array.isArray(mqtt)
      ? (mqtt as readonly DissectedPacket[])
      : [mqtt as DissectedPacket]) {
      this.summary.packets++
      if (packet.mqtt_mqtt_msgtype === CONNECT) {
        const client = packet.mqtt_mqtt_clientid || undefined
        const user = packet.mqtt_mqtt_username || undefined
        this.#clients.set(stream, { port, client, user, ip: address })
        this.#target.record({ at, topic: CONNECT_TOPIC, on: 'connect', client, user, ip: address, size: 0 })
      } else if (packet.mqtt_mqtt_msgtype === PUBLISH) this.#readPublish(packet, at, stream, port)
    }
  }

  #readPublish(packet: DissectedPacket, at: number, stream: string, port: string): void {
    const known = this.#clients.get(stream)
    if (known === undefined) {
      this.summary.withoutClient++
      return
    }
    // What the broker delivers to the client.
    if (known.port !== port) return
    const {
      mqtt_mqtt_topic: topic = '',
      mqtt_mqtt_msg: payload = '',
      mqtt_mqtt_qos,
      mqtt_mqtt_retain,
    } = packet
    if (topic === '') {
      this.summary.withoutTopic++
      return
    }
    const { client, user, ip } = known
    const size = payload === '' ? 0 : (payload.length + 1) / 3
    const [qos, retain] = [Number(mqtt_mqtt_qos ?? 0), mqtt_mqtt_retain ?? false]
    this.#target.record({ at, topic, client, user, ip, size, qos, retain })
  }
}
