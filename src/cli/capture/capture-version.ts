import { toPercent } from '../terminal/format.ts'
import { LineError } from './line-splitter.ts'

/** Version of the format of captures. */
export const CAPTURE_VERSION = 1

/** Returns the first line of a capture of a share of the senders; undefined for all of them. */
export function captureHeader(senders: number): string | undefined {
  return senders === 1
    ? undefined
    : JSON.stringify({ capture: CAPTURE_VERSION, senders: `${toPercent(senders)}%` })
}

/**
 * Returns true for a line that describes the capture and is not a message: `{"capture":1,"senders":"5%"}`. Throws
 * LineError for a version that this program does not read.
 */
export function isCaptureHeader(line: string): boolean {
  if (!line.startsWith('{"capture":')) return false
  const [, version] = /^\{"capture":(\d+)[,}]/.exec(line) ?? []
  if (Number(version) === CAPTURE_VERSION) return true
  const shown = version === undefined ? 'an unknown version' : `version ${version}`
  const remedy = `this topicgate reads version ${CAPTURE_VERSION}: update it, or record the capture again`
  throw new LineError(`this is a capture of ${shown} (${remedy})`)
}
