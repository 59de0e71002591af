import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { Gate, limit } from '../../../src/index.ts'
import { findBinary } from '../../support/server.ts'
import { until } from '../../support/wait.ts'
import { startGateway, type TestGateway } from './harness.ts'

const run = promisify(execFile)

const MESSAGES = 30
const BURST = 10
const OUTCOMES = ['drop', 'reject', 'throttle'] as const
const CASES = ([4, 5] as const).flatMap(version => ([0, 1, 2] as const).map(qos => [version, qos] as const))

let scene: TestGateway

beforeAll(async () => {
  const gate = new Gate()
  for (const exceeded of OUTCOMES) {
    const rate = `${exceeded === 'throttle' ? '100/s' : '1/hour'} burst ${BURST}`
    gate.use(exceeded, limit({ name: exceeded, rate, per: 'client', exceeded }))
  }
  scene = await startGateway({ gate })
})

afterAll(() => scene.close())

/** Returns the texts of the messages that pass. */
function passing(exceeded: (typeof OUTCOMES)[number]): readonly string[] {
  return numbers(exceeded === 'throttle' ? MESSAGES : BURST)
}

function numbers(count: number): readonly string[] {
  return Array.from({ length: count }, (_, index) => String(index))
}

describe('paho-mqtt', () => {
  it.each(CASES)(
    'of version %i at QoS %i gets what passes in its order, and an answer to every message',
    async (version, qos) => {
      const python = process.env.TOPICGATE_PYTHON || '/usr/bin/python3'
      const script = join(import.meta.dirname, '../../support/paho-client.py')
      const results = await Promise.all(
        OUTCOMES.map(topic =>
          run(python, [script, ...[scene.port, version, qos, topic, MESSAGES].map(String)]),
        ),
      )
      expect(results.map(({ stdout }) => JSON.parse(stdout) as unknown)).toEqual(
        OUTCOMES.map(exceeded => ({ acknowledged: MESSAGES, received: passing(exceeded) })),
      )
    },
  )
})

describe('mosquitto_pub and mosquitto_sub', () => {
  const publisher = findBinary({ program: 'mosquitto_pub', variable: 'TOPICGATE_MOSQUITTO_PUB' })
  const subscriber = findBinary({ program: 'mosquitto_sub', variable: 'TOPICGATE_MOSQUITTO_SUB' })

  it.each(CASES)('of version %i at QoS %i send and get what passes', async (version, qos) => {
    const watcher = await scene.connectDirectly()
    await watcher.publish('ready', 'ready', { qos: 1, retain: true })
    const common = ['-p', String(scene.port), '-V', version === 5 ? '5' : '311', '-q', String(qos)]
    const count = String(1 + BURST)
    const subscribed = run(subscriber, [...common, '-t', 'reject', '-t', 'ready', '-C', count, '-W', '60'])
    let output = ''
    subscribed.child.stdout?.on('data', (text: string) => {
      output += text
    })
    await until(() => output !== '')
    const name = `mosquitto-${version}-${qos}`
    const sending = run(publisher, [...common, '-t', 'reject', '-i', name, '-l'])
    sending.child.stdin?.end(`${numbers(MESSAGES).join('\n')}\n`)
    await Promise.all([sending, subscribed])
    expect(output.trim().split('\n')).toEqual(['ready', ...passing('reject')])
  })
})
