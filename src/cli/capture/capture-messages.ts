import { CommandError, EXIT } from '../terminal/command-error.ts'
import { formatCount } from '../terminal/format.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { TerminationSignalWaiter } from '../terminal/termination-signal-waiter.ts'
import { captureFromGate, type GateCaptureFlags } from './capture-from-gate.ts'
import { CaptureOutput } from './capture-output.ts'
import { CaptureRecorder } from './capture-recorder.ts'
import { captureHeader } from './capture-version.ts'
import { Pseudonyms } from './captured-message.ts'
import { ConnectionGaps } from './connection-gaps.ts'

export interface CaptureFlags extends GateCaptureFlags {
  /** URL of a broker: mqtt, mqtts, ws, wss or nats. */
  readonly from?: string
  /** Topics or subjects to subscribe to. */
  readonly subscribe?: readonly string[]
  /** Recording of tcpdump. */
  readonly pcap?: string
  /** Port of the broker in the recording. */
  readonly port: number
  /** Share of the senders, above 0 and up to 1. */
  readonly senders: number
  /** File; default: the standard output. */
  readonly out?: string
  /** Bytes of a file after which the next one begins. */
  readonly rotate: number
  readonly files: number
}

const FLUSH_EVERY_MS = 1_000
const DEFAULT_MS = 60_000

/**
 * Records messages as a capture: those that a running topicgate decides, that a broker delivers to subscriptions, or
 * that tcpdump recorded. Ends after a time, a number of messages, or a signal.
 */
export async function captureMessages(flags: CaptureFlags, terminal: Terminal): Promise<number> {
  checkFlags(flags)
  const { max = Infinity, senders, hashSenders = false, from, pcap, out: file, rotate, files } = flags
  const header = captureHeader(senders)
  const output = new CaptureOutput({ file, rotateBytes: rotate, files, header }, terminal)
  const isOfGate = from === undefined && pcap === undefined
  // A running topicgate replaces names itself, before they leave it.
  const pseudonyms = hashSenders && !isOfGate ? new Pseudonyms() : undefined
  const recorder = new CaptureRecorder({ max, senders, pseudonyms }, output)
  const signals = new TerminationSignalWaiter()
  void signals.received.then(() => recorder.end())
  const timer = setInterval(() => recorder.flush(), FLUSH_EVERY_MS)
  let exitCode: number = EXIT.fine
  try {
    if (isOfGate) exitCode = await captureFromGate(flags, recorder, terminal)
    else if (pcap !== undefined) await recordPcap(pcap, flags.port, recorder, terminal)
    else await recordBroker(from!, flags, recorder, terminal)
  } finally {
    clearInterval(timer)
    signals.release()
    await recorder.close()
  }
  if (file !== undefined) terminal.stderr.write(`${formatCount(recorder.count)} messages captured\n`)
  return exitCode
}

function checkFlags({ from, subscribe, pcap, reason, client, topic }: CaptureFlags): void {
  const problem = (text: string, remedy: string): CommandError =>
    new CommandError(`${text} (${remedy})`, EXIT.usage)
  if (from !== undefined && pcap !== undefined)
    throw problem('--from and --pcap cannot be combined', 'name one')
  if (from !== undefined && subscribe === undefined)
    throw problem('--from needs a topic', 'add --subscribe "fleet/{site}/{client}/#"')
  if (from === undefined && subscribe !== undefined)
    throw problem('--subscribe needs a broker', 'add --from mqtt://HOST or nats://HOST')
  if (from === undefined && pcap === undefined) {
    if (reason === undefined) throw problem('the audit log needs a reason', 'add --reason "…"')
  } else if (client !== undefined || topic !== undefined)
    throw problem('--client and --topic are for a running topicgate', 'use --subscribe with --from')
}

async function recordBroker(
  from: string,
  flags: CaptureFlags,
  recorder: CaptureRecorder,
  { stderr }: Terminal,
): Promise<void> {
  const [scheme] = /^(?:mqtts?|wss?|nats)(?=:\/\/)/.exec(from) ?? []
  if (scheme === undefined)
    throw new CommandError(`--from ${from} is not a broker (use mqtt://HOST or nats://HOST)`, EXIT.usage)
  const { subscribe = [], for: forMs = DEFAULT_MS } = flags
  const gaps = new ConnectionGaps()
  const timer = setTimeout(() => recorder.end(), forMs)
  try {
    if (scheme === 'nats') {
      const { captureFromNats } = await import('./capture-from-nats.ts')
      await captureFromNats(from, subscribe, recorder, gaps, recorder.ended)
    } else {
      const { captureFromMqtt } = await import('./capture-from-mqtt.ts')
      await captureFromMqtt(from, subscribe, recorder, gaps, recorder.ended)
    }
  } finally {
    clearTimeout(timer)
  }
  const missing = gaps.describe(Date.now())
  if (missing !== undefined) stderr.write(`${missing}\n`)
}

async function recordPcap(
  file: string,
  port: number,
  recorder: CaptureRecorder,
  { stderr }: Terminal,
): Promise<void> {
  const { captureFromPcap } = await import('./capture-from-pcap.ts')
  const { packets, withoutClient, withoutTopic, isCutShort } = await captureFromPcap(file, port, recorder)
  const reportOmission = (count: number, why: string): void => {
    if (count > 0) stderr.write(`${formatCount(count)} messages were left out: ${why}\n`)
  }
  reportOmission(
    withoutClient,
    'their connection began before the recording, so that their client is not known',
  )
  reportOmission(withoutTopic, 'they have a topic alias in place of their topic')
  if (isCutShort)
    stderr.write(`${file} ends within a packet (end tcpdump before its file is read, or add -U to it)\n`)
  if (packets === 0)
    stderr.write(`${file} has no message at port ${port} (name the port of the broker with --port)\n`)
}
