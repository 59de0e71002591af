import { execFile } from 'node:child_process'
import { existsSync } from 'node:fs'
import { connect } from 'node:net'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { startMosquitto } from '../support/mosquitto.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { startNats } from '../support/nats.ts'
import { startRedis } from '../support/redis.ts'
import { findBinary } from '../support/server.ts'
import { until } from '../support/wait.ts'

/** Sends bytes and resolves with all that was answered once it ends with `ending`. */
async function ask(port: number, request: string, ending: string): Promise<string> {
  const socket = connect(port, '127.0.0.1')
  let answer = ''
  socket.setEncoding('utf8').on('data', chunk => {
    answer += chunk
  })
  socket.write(request)
  try {
    await until(() => answer.endsWith(ending), { what: () => `an answer; so far ${JSON.stringify(answer)}` })
  } finally {
    socket.destroy()
  }
  return answer
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

describe('servers of tests', () => {
  it('Redis starts, answers, and is gone with its folder when it stops', async () => {
    const redis = await startRedis()
    expect(await ask(redis.port, 'PING\r\n', '\r\n')).toBe('+PONG\r\n')
    expect(isRunning(redis.pid)).toBe(true)
    expect(existsSync(redis.folder)).toBe(true)
    await redis.stop()
    expect(isRunning(redis.pid)).toBe(false)
    expect(existsSync(redis.folder)).toBe(false)
  })

  it('a Redis that was killed comes back on the same port', async () => {
    const first = await startRedis()
    await first.stop('SIGKILL')
    await using second = await startRedis({ port: first.port })
    expect(second.url).toBe(`redis://127.0.0.1:${first.port}`)
    expect(await ask(second.port, 'PING\r\n', '\r\n')).toBe('+PONG\r\n')
  })

  it('NATS starts and answers, with JetStream where asked', async () => {
    await using nats = await startNats({ jetstream: true })
    const answer = await ask(nats.port, 'CONNECT {"verbose":false}\r\nPING\r\n', 'PONG\r\n')
    expect(answer).toMatch(/^INFO .*"jetstream":true/)
  })

  it('Mosquitto carries a message from one client to another', async () => {
    await using mosquitto = await startMosquitto()
    await using listener = await connectClient({ port: mosquitto.port })
    await using speaker = await connectClient({ port: mosquitto.port, protocolVersion: 5 })
    await listener.subscribe('sensors/+', 1)
    await speaker.publish('sensors/7', 'warm', { qos: 1 })
    const [message] = await listener.received(1)
    expect(message).toMatchObject({ topic: 'sensors/7', text: 'warm' })
  })

  it("Mosquitto's own clients are there", async () => {
    await using mosquitto = await startMosquitto()
    await using listener = await connectClient({ port: mosquitto.port })
    await listener.subscribe('#')
    const publisher = findBinary({ program: 'mosquitto_pub', variable: 'TOPICGATE_MOSQUITTO_PUB' })
    const address = ['-h', mosquitto.host, '-p', String(mosquitto.port)]
    await promisify(execFile)(publisher, [...address, '-t', 'a/b', '-m', 'hello'])
    expect(await listener.received(1)).toMatchObject([{ topic: 'a/b', text: 'hello' }])
    expect(findBinary({ program: 'mosquitto_sub', variable: 'TOPICGATE_MOSQUITTO_SUB' })).toContain(
      'mosquitto',
    )
  })

  it('a server that cannot start says what it printed', async () => {
    await expect(startMosquitto({ config: ['no_such_setting 1'] })).rejects.toThrow('no_such_setting')
  })

  it('a client that is refused gets the reason', async () => {
    await using mosquitto = await startMosquitto({ config: ['allow_anonymous false'] })
    await expect(connectClient({ port: mosquitto.port })).rejects.toThrow('Not authorized')
  })
})
