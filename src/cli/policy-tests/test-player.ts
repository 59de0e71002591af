import type { Decision } from '../../core/decision.ts'
import { PolicyError } from '../../core/errors.ts'
import { andThen } from '../../core/maybe-promise.ts'
import type { MaybePromise, Message } from '../../core/message.ts'
import { CapturedMessage } from '../../core/message-from-fields.ts'
import { createSender, Gate, keyOfSender, MemoryStore, SenderCache } from '../../index.ts'
import { CaptureFileReader } from '../capture/capture-file.ts'
import { CaptureLineParser } from '../capture/capture-format.ts'
import { readWithProgress } from '../capture/read-with-progress.ts'
import { describeExplanation } from '../replay/describe-explanation.ts'
import { ReplayEngine } from '../replay/replay-engine.ts'
import { VirtualClock } from '../replay/virtual-clock.ts'
import { CommandError } from '../terminal/command-error.ts'
import type { Paint, Terminal } from '../terminal/terminal.ts'
import { DEFAULT_START_MS, type PolicyTestFile } from './load-test-file.ts'
import type { PolicyTest, SentMessage } from './test-file-format.ts'

const ENTRY_LISTS = ['bans', 'overrides', 'exemptions', 'tiers'] as const

/** A decision of a test. */
export interface TestDecision {
  readonly decision: Decision
  readonly message: Message
  /** Number of the message in the test, from 0. */
  readonly nth: number
  /** Index of its step; undefined in a replay. */
  readonly step: number | undefined
}

/** Plays tests of a file, each with a gate and a clock of its own. Two runs of a test decide alike. */
export class TestPlayer {
  readonly #file: PolicyTestFile
  readonly #terminal: Terminal

  constructor(file: PolicyTestFile, terminal: Terminal) {
    this.#file = file
    this.#terminal = terminal
  }

  /**
   * Decides all messages of a test. Rejects with PolicyError, at its place in the file, for entries of `given` that the
   * policy does not accept and for captures that cannot be read.
   */
  async play(index: number, onDecision: (decision: TestDecision, gate: Gate) => void): Promise<void> {
    await this.#run(index, (record, nth, step, { gate, engine }) =>
      andThen(engine.decide(record), decision => {
        onDecision({ decision, message: record.message, nth, step }, gate)
        return true
      }),
    )
  }

  /** Plays a test again and returns the explanation of a message, counted from 0, as it is decided. */
  async explain(index: number, messageNumber: number, paint: Paint): Promise<readonly string[]> {
    let lines: readonly string[] = []
    await this.#run(index, async (record, nth, _step, { gate, engine, clock }) => {
      if (nth < messageNumber) {
        await engine.decide(record)
        return true
      }
      engine.moveTo(record.atMs)
      lines = describeExplanation(await gate.explain(record.message), record.message, clock.now(), paint)
      return false
    })
    return lines
  }

  /** Runs a test until `decide` returns false. */
  async #run(index: number, decide: DecideMessage): Promise<void> {
    const test = this.#file.tests[index]!
    const { env } = this.#terminal
    const clock = new VirtualClock(test.start ?? (test.replay === undefined ? DEFAULT_START_MS : 0))
    const gate = await Gate.fromPolicy(this.#file.policy.document, {
      clock,
      env,
      store: new MemoryStore({ clock }),
      load: test.given?.load ?? 'none',
    })
    try {
      await this.#addGiven(index, gate)
      const run: TestRun = { gate, clock, engine: new ReplayEngine(gate, clock) }
      if (test.replay === undefined) await runSteps(test, run, decide)
      else await this.#replay(index, test.replay, run, decide)
    } finally {
      await gate.close()
    }
  }

  async #addGiven(index: number, gate: Gate): Promise<void> {
    const given = this.#file.tests[index]!.given ?? {}
    for (const kind of ENTRY_LISTS) {
      for (const [nth, entry] of (given[kind] ?? []).entries()) {
        try {
          // The list checks the words of the entry.
          const list: { add(options: object): Promise<object> } = gate[kind]
          await list.add({ reason: 'given by a test', ...entry })
        } catch (error) {
          if (!(error instanceof PolicyError)) throw error
          throw this.#located(`tests[${index}].given.${kind}[${nth}]`, error)
        }
      }
    }
  }

  async #replay(index: number, name: string, run: TestRun, decide: DecideMessage): Promise<void> {
    const { gate } = run
    const parser = new CaptureLineParser(gate.dialect)
    const capture = new CaptureFileReader(this.#file.resolve(name), this.#terminal.stdin, parser)
    let nth = 0
    try {
      await readWithProgress(capture, record => decide(record, nth++, undefined, run), this.#terminal.stderr)
      capture.requireMessage()
    } catch (error) {
      if (!(error instanceof CommandError)) throw error
      const problem = new PolicyError([{ message: error.message }], { cause: error })
      throw this.#located(`tests[${index}].replay`, problem)
    }
  }

  #located(path: string, error: PolicyError): PolicyError {
    const problems = error.problems.map(problem => {
      const inner = problem.path ? `${path}.${problem.path}` : path
      return { ...problem, ...this.#file.locate(inner), path: inner }
    })
    return new PolicyError(problems, { cause: error })
  }
}

interface TestRun {
  readonly gate: Gate
  readonly clock: VirtualClock
  readonly engine: ReplayEngine
}

type Recorded = Parameters<ReplayEngine['decide']>[0]

/** Decides a message, or returns false to end the test. */
type DecideMessage = (
  record: Recorded,
  nth: number,
  step: number | undefined,
  run: TestRun,
) => MaybePromise<boolean>

async function runSteps(test: PolicyTest, run: TestRun, decide: DecideMessage): Promise<void> {
  const { gate, clock, engine } = run
  const senders = new SenderCache<ReturnType<typeof createSender>>()
  let nth = 0
  let last: CapturedMessage | undefined
  for (const [step, { send, wait, handled }] of (test.steps ?? []).entries()) {
    if (wait !== undefined) engine.moveTo(clock.now() + wait)
    if (handled !== undefined && last !== undefined) {
      const result = { durationMs: handled.took ?? 0, ok: handled.ok ?? true }
      for (let time = 0; time < (handled.times ?? 1); time++) gate.handlerMonitor.record(last, result)
    }
    if (send === undefined) continue
    const startMs = clock.now()
    const isSame = !usesNumber(send)
    for (let time = 0; time < (send.times ?? 1); time++) {
      // Always a new one: a gate remembers connects by their message.
      last = isSame && time > 0 ? last!.withSize(last!.size) : createMessage(send, time + 1, gate, senders)
      const record = { atMs: startMs + time * (send.every ?? 0), message: last, handled: undefined }
      const shouldContinue = decide(record, nth++, step, run)
      // A promise per message would cost more than the decision.
      if (!(shouldContinue instanceof Promise ? await shouldContinue : shouldContinue)) return
    }
  }
}

/** Returns true if the messages of a step differ by their number. */
function usesNumber({ topic, client, user, device, apiKey, ip, tier }: SentMessage): boolean {
  return [topic, client, user, device, apiKey, ip, tier].some(text => text?.includes('{n}') === true)
}

/** Returns the nth message of a step, from 1. `{n}` in the topic and the sender is its number. */
function createMessage(
  send: SentMessage,
  n: number,
  gate: Gate,
  senders: SenderCache<Message['sender']>,
): CapturedMessage {
  const fill = (text: string | undefined): string | undefined => text?.replaceAll('{n}', String(n))
  const { client, user, device, apiKey, ip, roles, tier } = send
  const parts = Object.entries({
    client: fill(client),
    user: fill(user),
    device: fill(device),
    apiKey: fill(apiKey),
    ip: fill(ip),
    roles,
    tier,
  })
  const known = Object.fromEntries(parts.filter(([, value]) => value !== undefined))
  const key = keyOfSender(known)
  const sender = senders.get(key) ?? senders.set(key, createSender(known))
  return new CapturedMessage({ ...send, topic: fill(send.topic) ?? '', sender }, gate.dialect)
}
