import { join } from 'node:path'
import { freePort } from '../support/ports.ts'
import { type Program, startNode } from '../support/program.ts'

/** A broker that can be killed, and started again with its port and what it has stored. */
export class DurableBroker implements AsyncDisposable {
  readonly port: number
  /** Lines of what it has stored; see `durable-broker.js`. */
  readonly file: string
  #program: Program

  private constructor(port: number, file: string, program: Program) {
    this.port = port
    this.file = file
    this.#program = program
  }

  static async start(folder: string): Promise<DurableBroker> {
    const port = await freePort()
    const file = join(folder, 'messages.jsonl')
    return new DurableBroker(port, file, await startProgram(port, file))
  }

  async kill(): Promise<void> {
    this.#program.signal('SIGKILL')
    await this.#program.ended
  }

  async startAgain(): Promise<void> {
    this.#program = await startProgram(this.port, this.file)
  }

  signal(signal: NodeJS.Signals): void {
    this.#program.signal(signal)
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#program[Symbol.asyncDispose]() as Promise<void>
  }
}

async function startProgram(port: number, file: string): Promise<Program> {
  const script = join(import.meta.dirname, 'durable-broker.js')
  const program = startNode([script, String(port), file], { timeoutMs: 300_000 })
  await program.line(/ready/)
  return program
}
