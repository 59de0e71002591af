import { fork } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import type { AuthenticateHandler } from 'aedes'
import { expect, it } from 'vitest'
import { Gate } from '../../src/gate/gate.ts'
import { eventually, startBroker, subscribeAll, type TestBroker } from '../brokers/aedes/harness.ts'
import { pause } from './pause.ts'

setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

const GOOD = 9
const PASSWORD = 'known to the good alone'
const ATTACKER = '127.0.0.2'
const FOR_MS = 6_000
const MESSAGES = 60

/** What the policy lets one address have, and each client it is let in as. */
const CONNECTS = { burst: 10, perSecond: 2 }
const ADDRESS = { burst: 100, perSecond: 50 }
const EMERGENCIES = { burst: 5, perSecond: 5 / 60 }

const policy = (penalties: string): string => `
version: 1
senders: { device: "{client}", roles: { from: "{user}", map: { operator: [admin] } } }
exempt:
  - { name: operators, roles: [admin] }
  - { name: bypass, when: { header: { name: x-bypass, secret: "a long secret that nobody guesses" } } }
  - { name: emergencies, when: { payload: { field: priority, equals: emergency } }, limit: 5/min per device }
rules:
  - { name: connects, on: connect, per: ip, limit: ${CONNECTS.perSecond}/s burst ${CONNECTS.burst} }
  - { name: address, topic: "#", per: ip, limit: ${ADDRESS.perSecond}/s burst ${ADDRESS.burst}, exceeded: drop }
  - { name: client, topic: "fleet/{device}/data", per: client, limit: 10/s burst 20, exceeded: drop }
  - { name: bytes, topic: "#", per: client, limit: 10kB/s, exceeded: drop }
penalties: { ${penalties} }
`

/** Names that are somebody's need the password; others may come without. */
const authenticate: AuthenticateHandler = (client, username, password, done) => {
  const claims = client.id.startsWith('good-') || username !== undefined
  done(null, !claims || password?.toString() === PASSWORD)
}

interface Tried {
  readonly connects: number
  readonly accepted: number
  readonly refused: number
  readonly cut: number
  readonly messages: number
}

function attack(port: number): Promise<Tried> {
  const options = { port, address: ATTACKER, perSecond: 100, forMs: FOR_MS, messages: MESSAGES }
  const path = fileURLToPath(new URL('./attacker.js', import.meta.url))
  const child = fork(path, [JSON.stringify(options)], { execArgv: [] })
  return new Promise((resolve, reject) => {
    child.once('message', tried => resolve(tried as Tried))
    child.once('exit', code => reject(new Error(`the attacker ended with ${code}`)))
  })
}

/** Devices that send twice a second, each third message an emergency, until they are told to end. */
function startGood(running: TestBroker): () => Promise<number[]> {
  let over = false
  const device = async (index: number): Promise<number> => {
    const name = `good-${index}`
    const client = await running.connect({ clientId: name, username: name, password: PASSWORD })
    let sent = 0
    while (!over) {
      const payload = { n: sent, ...(sent % 3 === 0 && { priority: 'emergency' }) }
      await client.publishAsync(`fleet/${name}/data`, JSON.stringify(payload), { qos: 1 })
      sent++
      await pause(500)
    }
    return sent
  }
  const all = Array.from({ length: GOOD }, (_, index) => device(index))
  return () => {
    over = true
    return Promise.all(all)
  }
}

it.each([
  ['by name, which the attacker changes at will', 'block: 60s, after: 20 refusals in 1s', false],
  ['by address', 'block: 60s, after: 20 refusals in 1s, per: ip', true],
] as const)(
  'an attacker who forges all there is gets what the policy lets an address have, and the good lose nothing; blocked %s',
  async (_, penalties, isEnded) => {
    const gate = await Gate.fromPolicy(policy(penalties))
    const passed = { emergencies: 0, others: 0, operators: 0 }
    gate.on('decision', ({ allowed, exemption }, { on, sender }) => {
      if (on !== 'publish' || !allowed || sender.ip !== ATTACKER) return
      if (exemption === undefined) passed.others++
      else if (exemption === 'emergencies') passed.emergencies++
      else passed.operators++
    })
    const running = await startBroker({ gate, aedes: { authenticate } })
    try {
      const watcher = await running.connect({
        clientId: 'good-watcher',
        username: 'good-watcher',
        password: PASSWORD,
      })
      const seen = await subscribeAll(watcher, 'fleet/#', 1)
      const endGood = startGood(running)
      collect()
      const beforeBytes = process.memoryUsage().heapUsed
      const startMs = performance.now()
      const tried = await attack(running.port)
      const seconds = (performance.now() - startMs) / 1_000
      const sent = await endGood()

      // The attack was one.
      expect(tried.connects).toBe((FOR_MS / 1_000) * 100)
      expect(tried.messages).toBe(tried.connects * MESSAGES)
      expect(tried.accepted + tried.refused + tried.cut).toBe(tried.connects)
      // Each name costs a connect, and each connect is one of its address.
      const names = CONNECTS.burst + CONNECTS.perSecond * seconds
      const emergencies = names * (EMERGENCIES.burst + EMERGENCIES.perSecond * seconds)
      const others = ADDRESS.burst + ADDRESS.perSecond * seconds
      expect(tried.accepted).toBeLessThanOrEqual(names)
      expect(passed.operators).toBe(0)
      expect(passed.emergencies).toBeLessThanOrEqual(emergencies)
      expect(passed.others).toBeLessThanOrEqual(others)
      // All that was delivered was decided so.
      await eventually(() => {
        const forged = seen.filter(({ topic }) => topic.startsWith('fleet/device-'))
        expect(forged).toHaveLength(passed.emergencies + passed.others)
      })
      expect(passed.emergencies).toBeGreaterThanOrEqual(EMERGENCIES.burst)

      for (const [index, count] of sent.entries()) {
        const ours = seen.filter(({ topic }) => topic === `fleet/good-${index}/data`)
        expect(ours.map(({ text }) => JSON.parse(text).n)).toEqual(Array.from({ length: count }, (_, n) => n))
        expect(count).toBeGreaterThan(10)
      }
      const banned = gate.bans.list().map(({ client, ip }) => ip ?? client!)
      if (isEnded) expect(banned).toEqual([`${ATTACKER}/32`])
      else expect(banned.length).toBeGreaterThan(1)
      for (const name of banned) expect(name).not.toMatch(/good/)

      // Per client: its messages, its bytes, its emergencies; per address: connects and messages.
      const { keys } = await gate.store.health()
      const clients = names + GOOD + 1
      expect(keys).toBeLessThanOrEqual(3 * clients + 4)
      await eventually(() => expect(running.limits.stats()).toMatchObject({ held: 0, connections: GOOD + 1 }))
      collect()
      expect(process.memoryUsage().heapUsed - beforeBytes).toBeLessThan(16_000_000)
    } finally {
      await running.close()
    }
  },
)
