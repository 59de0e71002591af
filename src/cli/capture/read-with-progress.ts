import type { MaybePromise } from '../../core/message.ts'
import { formatCount } from '../terminal/format.ts'
import { ProgressLine } from '../terminal/progress-line.ts'
import type { OutputStream } from '../terminal/terminal.ts'
import type { CaptureFileReader } from './capture-file.ts'

/** Calls `decide` with each message of a capture until it returns false, and shows the progress on a terminal. */
export async function readWithProgress<T>(
  capture: CaptureFileReader<T>,
  decide: (message: T) => MaybePromise<unknown>,
  output: OutputStream,
): Promise<void> {
  const progress = new ProgressLine(output)
  try {
    await capture.readMessages(decide, () =>
      progress.show(() => `${formatCount(capture.line)} lines decided`),
    )
  } finally {
    progress.clear()
  }
}
