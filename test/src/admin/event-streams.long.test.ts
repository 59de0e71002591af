import { type IncomingMessage, request } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, expect, it } from 'vitest'
import { MAX_SIZES } from '../../../src/core/max-sizes.ts'
import { until } from '../../support/wait.ts'
import { type AdminScene, openAdminScene } from './admin-scene.ts'

const BATCH = 100
const BATCHES = 40
const EVENTS = BATCH * BATCHES

let scene: AdminScene
afterEach(() => scene?.close())

/** A client of the event stream of audit records. */
class EventClient {
  received = 0
  lost = 0
  #text = ''

  constructor(answer: IncomingMessage) {
    answer.setEncoding('utf8')
    answer.on('data', (chunk: string) => this.#read(chunk))
    answer.on('error', () => {})
  }

  #read(chunk: string): void {
    const frames = (this.#text + chunk).split('\n\n')
    this.#text = frames.pop()!
    for (const frame of frames) {
      if (frame.includes('event: audit')) this.received++
      const [, count] = /event: lost\ndata: \{"count":(\d+)\}/.exec(frame) ?? []
      if (count !== undefined) this.lost += Number(count)
    }
  }
}

it('a stream that its client does not read delays no other of 32, and its memory is bounded', async () => {
  // A unix socket holds little in the kernel, where nothing of this could be seen.
  const socketPath = join(tmpdir(), `topicgate-streams-${process.pid}.sock`)
  scene = await openAdminScene({ server: { listen: `unix:${socketPath}` } })
  const open = (): Promise<IncomingMessage> =>
    new Promise((resolve, reject) => {
      const asked = request({ socketPath, path: '/api/v1/events?types=audit', agent: false }, resolve)
      asked.once('error', reject)
      asked.end()
    })
  const frozen = await open()
  const clients: EventClient[] = []
  for (let count = 1; count < MAX_SIZES.adminStreams; count++) clients.push(new EventClient(await open()))

  const reason = 'x'.repeat(MAX_SIZES.reasonChars)
  for (let batch = 1; batch <= BATCHES; batch++) {
    for (let count = 0; count < BATCH; count++) await scene.gate.bans.add({ client: 'd7', reason })
    // Each of the others gets every batch, whatever the frozen one does.
    await until(() => clients.every(({ received }) => received === batch * BATCH), { what: `batch ${batch}` })
  }
  expect(clients.map(({ lost }) => lost)).toEqual(clients.map(() => 0))

  const late = new EventClient(frozen)
  await until(() => late.received + late.lost === EVENTS, { what: 'the rest' })
  // It gets what its queue and the socket hold; the rest was dropped, the oldest first.
  expect(late.received).toBeGreaterThanOrEqual(MAX_SIZES.adminQueuedEvents)
  expect(late.received).toBeLessThan(2 * MAX_SIZES.adminQueuedEvents)
  expect(late.lost).toBeGreaterThan(0)
  frozen.destroy()
})
