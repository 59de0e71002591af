import type { Socket } from 'node:net'
import { SILENT } from '../../core/logger.ts'
import { ThrottledLog } from '../../core/throttled-log.ts'
import type { Decision, Dialect, Gate, Logger, Message } from '../../index.ts'

/** Topic of an accepted socket, which has none of its own. */
const ACCEPT_TOPIC = 'accept'

/** Asks a gate about new sockets by their address, before any TLS work. A refused one is closed. */
export class AcceptRules {
  readonly #gate: Gate
  readonly #protocol: Dialect
  readonly #refusalLog: ThrottledLog
  #refused = 0
  /** True if a rule can refuse sockets; otherwise the gate is not asked, and counts no decisions about them. */
  #isLimited = false
  readonly #updateIsLimited = (): void => {
    this.#isLimited = this.#gate.outcomes('accept').size > 0
  }

  constructor(gate: Gate, protocol: Dialect, logger: Logger | undefined) {
    this.#gate = gate
    this.#protocol = protocol
    this.#updateIsLimited()
    gate.on('policy', this.#updateIsLimited)
    this.#refusalLog = new ThrottledLog(gate.clock, logger ?? SILENT)
  }

  get refused(): number {
    return this.#refused
  }

  close(): void {
    this.#gate.off('policy', this.#updateIsLimited)
  }

  /** Calls `accept` if the socket may be accepted. A socket of unknown address may. */
  check(socket: Socket, ip: string | undefined, accept: () => void): void {
    if (ip === undefined || !this.#isLimited) {
      accept()
      return
    }
    const protocol = this.#protocol
    const message: Message = { topic: ACCEPT_TOPIC, on: 'accept', sender: { ip }, size: 0, protocol }
    const enact = (decision: Decision): void => {
      if (decision.allowed) {
        if (!socket.destroyed) accept()
        return
      }
      this.#refused++
      const { rule, reason } = decision
      this.#refusalLog.log({ ip, rule, reason }, 'a socket was closed before its handshake')
      socket.destroy()
    }
    const answer = this.#gate.check(message)
    if (answer instanceof Promise)
      // The sockets before a CONNECT are bounded without rules, so a failing store closes none.
      answer.then(enact, () => {
        if (!socket.destroyed) accept()
      })
    else enact(answer)
  }
}
