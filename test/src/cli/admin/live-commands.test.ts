import { PassThrough } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { run } from '../../../../src/cli/program.ts'
import { createSender } from '../../../../src/index.ts'
import { until } from '../../../support/wait.ts'
import { type AdminScene, openAdminScene } from '../../admin/admin-scene.ts'
import { type FakeTerminal, fakeTerminal } from '../fake-terminal.ts'

let scene: AdminScene
beforeAll(async () => {
  scene = await openAdminScene()
  publish('d7', 60)
  publish('d8', 55)
})
afterAll(() => scene.close())

function publish(client: string, times: number): void {
  const sender = createSender({ client })
  for (let count = 0; count < times; count++)
    scene.gate.checkSync({ topic: 'fleet/berlin/x', sender, size: 10 })
}

/** A command that runs at a terminal with a keyboard. */
class RunningCommand {
  readonly exitCode: Promise<number>
  readonly rawModes: boolean[] = []
  readonly #keyboard = new PassThrough()
  readonly #terminal: FakeTerminal

  constructor(args: readonly string[], isTTY: boolean) {
    const env = { TOPICGATE_ADMIN: scene.url, TOPICGATE_TOKEN: scene.tokens.viewer, HOME: scene.folder }
    const setRawMode = (isRaw: boolean): void => void this.rawModes.push(isRaw)
    const stdin = Object.assign(this.#keyboard, { isTTY: true, setRawMode })
    this.#terminal = Object.assign(fakeTerminal({ env, isTTY, columns: 120 }), { stdin })
    this.exitCode = run(args, this.#terminal)
  }

  press(key: string): void {
    this.#keyboard.write(key)
  }

  /** Waits until the output, from a position on, matches. Returns its length. */
  async shows(pattern: RegExp, from = 0): Promise<number> {
    await until(() => pattern.test(this.#terminal.out().slice(from)), { what: String(pattern) })
    return this.#terminal.out().length
  }

  out(): string {
    return this.#terminal.out()
  }
}

const [UP, DOWN, ENTER, ESCAPE] = ['\u001b[A', '\u001b[B', '\r', '\u001b']

describe('topicgate top on a terminal', () => {
  it('opens the card of the selected client on Enter, goes back and ends', async () => {
    const top = new RunningCommand(['top'], true)
    await top.shows(/> client:d7 +10\n {2}client:d8 +5\n/)
    top.press(UP)
    top.press(DOWN)
    let length = await top.shows(/ {2}client:d7 +10\n> client:d8 +5\n/)
    top.press(DOWN)
    top.press(ENTER)
    length = await top.shows(/client:d8\nThrottled: 0 of 50 left under per-client.*Esc goes back/s, length)
    top.press(ESCAPE)
    await top.shows(/> client:d8 +5\n/, length)
    top.press('q')
    expect(await top.exitCode).toBe(0)
    expect(top.rawModes).toEqual([true, false])
  })

  it('prints an error as other commands do, and leaves the terminal as it was', async () => {
    const top = new RunningCommand(['top', '--to', 'unix:/nowhere/topicgate.sock'], true)
    expect(await top.exitCode).toBe(69)
    expect(top.rawModes).toEqual([true, false])
  })
})

describe('topicgate top --by rate', () => {
  it('lists the clients with the most decisions, counted while it is asked', async () => {
    const top = new RunningCommand(['top', '--by', 'rate', '--once', '--json'], false)
    let isDone = false
    void top.exitCode.then(() => {
      isDone = true
    })
    await until(() => {
      publish('d9', 3)
      publish('d8', 1)
      scene.clock.advance(100)
      return isDone
    })
    const { senders } = JSON.parse(top.out()) as { senders: readonly { id: string; count: number }[] }
    expect(senders.map(({ id }) => id)).toEqual(['client:d9', 'client:d8'])
    expect(senders[0]!.count).toBe(3 * senders[1]!.count)
  })
})

describe('topicgate metrics --watch', () => {
  it('shows the counts again and again', async () => {
    const watch = new RunningCommand(['metrics', '--rule', 'per-site', '--watch', '--json'], false)
    await watch.shows(/"name":"per-site".*"name":"per-site"/s)
    watch.press('q')
    expect(await watch.exitCode).toBe(0)
    for (const line of watch.out().trimEnd().split('\n'))
      expect(JSON.parse(line)).toMatchObject({ rules: [{ name: 'per-site' }] })
  })
})
