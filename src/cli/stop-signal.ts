/** Waits for SIGINT or SIGTERM. A second one ends the process at once: somebody is in a hurry. */
export class StopSignal {
  readonly received: Promise<NodeJS.Signals>
  readonly #onSignal: (signal: NodeJS.Signals) => void

  constructor() {
    let seen = false
    let tell: (signal: NodeJS.Signals) => void = () => {}
    this.received = new Promise(resolve => {
      tell = resolve
    })
    this.#onSignal = signal => {
      if (seen) process.exit(signal === 'SIGINT' ? 130 : 143)
      seen = true
      tell(signal)
    }
    process.on('SIGINT', this.#onSignal)
    process.on('SIGTERM', this.#onSignal)
  }

  /** Gives the signals their usual meaning again. */
  release(): void {
    process.off('SIGINT', this.#onSignal)
    process.off('SIGTERM', this.#onSignal)
  }
}
