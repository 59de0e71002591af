/** Waits for SIGINT or SIGTERM. A second signal ends the process at once. */
export class TerminationSignalWaiter {
  readonly received: Promise<NodeJS.Signals>
  readonly #onSignal: (signal: NodeJS.Signals) => void

  constructor() {
    let seen = false
    let resolveReceived: (signal: NodeJS.Signals) => void = () => {}
    this.received = new Promise(resolve => {
      resolveReceived = resolve
    })
    this.#onSignal = signal => {
      if (seen) process.exit(signal === 'SIGINT' ? 130 : 143)
      seen = true
      resolveReceived(signal)
    }
    process.on('SIGINT', this.#onSignal)
    process.on('SIGTERM', this.#onSignal)
  }

  /** Restores the default handling of the signals. */
  release(): void {
    process.off('SIGINT', this.#onSignal)
    process.off('SIGTERM', this.#onSignal)
  }
}
