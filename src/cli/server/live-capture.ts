import { describeMessage } from '../../admin/state/captured-fields.ts'
import { withTimeout } from '../../core/with-timeout.ts'
import type { Decision, Gate, Logger, Message, MetricFamily } from '../../index.ts'
import { insertBeforeExtension } from '../capture/capture-file-names.ts'
import { CaptureOutput } from '../capture/capture-output.ts'
import { CaptureRecorder } from '../capture/capture-recorder.ts'
import { captureHeader } from '../capture/capture-version.ts'
import { Pseudonyms } from '../capture/captured-message.ts'
import type { CapturingWorker, LiveCaptureOptions } from '../capture/live-capture-options.ts'
import type { Terminal } from '../terminal/terminal.ts'
import type { PreparedServer } from './server-types.ts'

const FLUSH_EVERY_MS = 1_000
/** Longest wait for a disk at the end. */
const CLOSE_TIMEOUT_MS = 3_000

/**
 * Records the messages that a gate decides, without payloads, while it serves clients. A slow disk loses messages, and a
 * full one ends the recording; both are counted, and logged once.
 */
export class LiveCapture {
  readonly #gate: Gate
  readonly #logger: Logger
  readonly #recorder: CaptureRecorder
  readonly #timer: NodeJS.Timeout
  #closed: Promise<void> | undefined
  /** A message that waits is decided again. */
  readonly #seen = new WeakSet<Message>()
  #isBehind = false

  /** Throws CommandError if the file cannot be written. */
  constructor(
    gate: Gate,
    { file, senders, hashSenders, rotateBytes, files }: LiveCaptureOptions,
    worker: CapturingWorker | undefined,
    terminal: Terminal,
    logger: Logger,
  ) {
    this.#gate = gate
    this.#logger = logger
    const output = new CaptureOutput(
      {
        file: worker === undefined ? file : insertBeforeExtension(file, `worker-${worker.number}`),
        rotateBytes,
        files,
        header: captureHeader(senders),
        keepsFiles: true,
      },
      terminal,
    )
    const pseudonyms = hashSenders ? new Pseudonyms(worker?.pseudonymKey) : undefined
    this.#recorder = new CaptureRecorder(
      { max: Infinity, senders, pseudonyms, skipsWhenBehind: true },
      output,
    )
    this.#timer = setInterval(() => this.#recorder.flush(), FLUSH_EVERY_MS).unref()
    gate.on('decision', this.#onDecision)
    void this.#recorder.ended.then(() => this.#closeRecorder())
  }

  collectMetrics(): readonly MetricFamily[] {
    const { written, lost, isFull } = this.#recorder
    return [
      {
        name: 'topicgate_capture_messages_total',
        help: 'Messages of the capture, by result.',
        type: 'counter',
        samples: [
          { labels: { result: 'written' }, value: written },
          { labels: { result: 'lost' }, value: lost },
        ],
      },
      {
        name: 'topicgate_capture_healthy',
        help: '1 until the capture ends because its file cannot be written.',
        type: 'gauge',
        samples: [{ labels: {}, value: isFull ? 0 : 1 }],
      },
    ]
  }

  /** Writes the rest, for at most three seconds. */
  async close(): Promise<void> {
    this.#gate.off('decision', this.#onDecision)
    this.#recorder.end()
    await withTimeout(this.#gate.clock, CLOSE_TIMEOUT_MS, () => this.#closeRecorder()).catch(() =>
      this.#logger.error({}, 'the disk does not take the end of the capture'),
    )
    const { written, lost } = this.#recorder
    this.#logger.info({ written, lost }, 'the capture has ended')
  }

  readonly #onDecision = (_decision: Decision, message: Message): void => {
    if (this.#seen.has(message)) return
    this.#seen.add(message)
    const recorder = this.#recorder
    recorder.record(describeMessage(message, this.#gate.clock.now()))
    if (recorder.isFull || recorder.lost === 0 || this.#isBehind) return
    this.#isBehind = true
    this.#logger.warn({}, 'the disk is too slow for the capture: messages are missing from it')
  }

  /** Ends the files, and logs why they could not be written. */
  #closeRecorder(): Promise<void> {
    this.#closed ??= this.#recorder.close().catch((err: unknown) => {
      this.#logger.error({ err }, 'the capture has ended, because it cannot be written')
    })
    clearInterval(this.#timer)
    return this.#closed
  }
}

/** Returns a server that records the messages it decides, from its first one to its last. */
export function withCapture(
  prepared: PreparedServer,
  options: LiveCaptureOptions,
  worker: CapturingWorker | undefined,
  terminal: Terminal,
  logger: Logger,
): PreparedServer {
  return {
    files: prepared.files,
    start: async (gate, counts) => {
      const capture = new LiveCapture(gate, options, worker, terminal, logger)
      try {
        const server = await prepared.start(gate, counts)
        return {
          ...server,
          collectMetrics: () => [...server.collectMetrics(), ...capture.collectMetrics()],
          close: async drainMs => {
            await server.close(drainMs)
            await capture.close()
          },
        }
      } catch (error) {
        await capture.close()
        throw error
      }
    },
  }
}
