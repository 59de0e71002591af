/** Bytes of a file of a capture after which the next one begins, and number of files. */
export const DEFAULT_CAPTURE_ROTATION = { rotateBytes: 100_000_000, files: 10 } as const

/** Capture of the commands that serve clients. */
export interface LiveCaptureOptions {
  readonly file: string
  /** Share of the senders, above 0 and up to 1. */
  readonly senders: number
  readonly hashSenders: boolean
  /** Bytes of a file after which the next one begins. */
  readonly rotateBytes: number
  readonly files: number
}

/** A worker that captures into a file of its own. */
export interface CapturingWorker {
  readonly number: number
  /** Key of pseudonyms, the same for all workers. */
  readonly pseudonymKey: string
}
