import { LineError } from '../line-splitter.ts'

/** Version of the format of captures. */
export const CAPTURE_VERSION = 1

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
