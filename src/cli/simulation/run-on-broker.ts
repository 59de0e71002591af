import { formatCount } from '../terminal/format.ts'
import type { ProgressLine } from '../terminal/progress-line.ts'
import { TerminationSignalWaiter } from '../terminal/termination-signal-waiter.ts'
import type { CaptureWriter } from './capture-writer.ts'
import { parseBrokerUrl } from './fleet-broker.ts'
import type { FleetDocument } from './fleet-format.ts'
import type { GroupCounts } from './group-counts.ts'
import { LiveFleet } from './live-fleet.ts'
import { reachesBroker } from './simulated-fleet.ts'

/** The end waits until nothing is delivered for this time, but no longer than the other. */
const QUIET_MS = 2_000
const MAX_WAIT_MS = 30_000

/**
 * Runs a fleet in real time against a broker, with a client for each device, and counts what a subscriber receives. Ends
 * early at SIGINT or SIGTERM. Rejects with CommandError if the broker is not available.
 */
export async function runOnBroker(
  document: FleetDocument,
  url: string,
  capture: CaptureWriter | undefined,
  progress: ProgressLine,
): Promise<GroupCounts> {
  const fleet = await LiveFleet.open(document, parseBrokerUrl(url))
  const { counts } = fleet
  const stop = new TerminationSignalWaiter()
  try {
    await fleet.run(stop.received, async event => {
      if (reachesBroker(event) && capture?.record(event, Date.now())) await capture.flush()
      progress.show(
        () =>
          `${formatCount(counts.sum('messages'))} sent, ${formatCount(counts.sum('delivered'))} delivered`,
      )
    })
    await fleet.awaitDeliveries({ groups: document.fleet, quietMs: QUIET_MS, maxMs: MAX_WAIT_MS })
  } finally {
    stop.release()
    await fleet.close()
  }
  return counts
}
