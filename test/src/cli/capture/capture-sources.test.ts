import { spawn } from 'node:child_process'
import { readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { connect as connectNats } from '@nats-io/transport-node'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { captureFromMqtt } from '../../../../src/cli/capture/capture-from-mqtt.ts'
import { captureFromNats } from '../../../../src/cli/capture/capture-from-nats.ts'
import { ConnectionGaps } from '../../../../src/cli/capture/connection-gaps.ts'
import { startMosquitto } from '../../../support/mosquitto.ts'
import { connectClient } from '../../../support/mqtt-client.ts'
import { startNats } from '../../../support/nats.ts'
import { findBinary } from '../../../support/server.ts'
import { until } from '../../../support/wait.ts'
import { runCommand } from '../fake-terminal.ts'
import { Folder } from '../folder.ts'

type Line = Readonly<Record<string, unknown>>

function linesOf(text: string): readonly Line[] {
  return text
    .trim()
    .split('\n')
    .map(line => JSON.parse(line) as Line)
}

/** Runs a capture, and sends messages until it has as many as it wants. */
async function captureWhile(
  args: readonly string[],
  send: (count: number) => unknown,
): Promise<readonly Line[]> {
  let result: { readonly exitCode: number; readonly out: string; readonly err: string } | undefined
  const captured = runCommand(['capture', ...args]).then(ended => {
    result = ended
  })
  for (let count = 1; result === undefined; count++) {
    await send(count)
    await new Promise(resolve => setTimeout(resolve, 5))
  }
  await captured
  expect(result).toMatchObject({ exitCode: 0, err: '' })
  return linesOf(result.out)
}

/** Stops a broker while a capture is connected to it, and starts it again. */
async function expectGap(
  start: typeof startMosquitto | typeof startNats,
  capture: typeof captureFromMqtt | typeof captureFromNats,
  topic: string,
  publish: (port: number) => Promise<void>,
): Promise<void> {
  const gaps = new ConnectionGaps()
  const describe = (): string => gaps.describe(Date.now()) ?? ''
  let recorded = 0
  const target = { isFull: false, record: () => recorded++, drained: async () => {} }
  let end = (): void => {}
  const ended = new Promise<void>(resolve => {
    end = resolve
  })
  const server = await start()
  const captured = capture(server.url, [topic], target, gaps, ended)
  while (recorded === 0) await publish(server.port)
  await server.stop()
  await until(() => describe() !== '', { what: 'the loss' })
  expect(describe()).toMatch(/ was lost \(1 time, and did not come back\): messages of/)
  await using _again = await start({ port: server.port })
  await until(() => !describe().includes('did not'), { what: 'the return' })
  end()
  await captured
  expect(describe()).toMatch(/ was lost \(1 time\): messages of [\d.]+m?s are missing$/)
}

describe('a capture of a broker', () => {
  it('records what an MQTT broker delivers, with the sender that the topic names', async () => {
    await using broker = await startMosquitto()
    await using publisher = await connectClient({ port: broker.port, clientId: 'publisher' })
    await publisher.client.publishAsync('fleet/a/old/t', 'kept', { retain: true })
    const startMs = Date.now()
    const lines = await captureWhile(
      ['--from', broker.url, '--subscribe', 'fleet/{site}/{client}/#', '--max', '6'],
      async count => {
        await publisher.client.publishAsync(`fleet/a/d${count % 3}/t`, 'x'.repeat(7), { qos: 1 })
        await publisher.client.publishAsync('elsewhere', 'x')
      },
    )
    expect(lines).toHaveLength(6)
    for (const { at, topic, client, size, qos } of lines) {
      expect([topic, size, qos]).toEqual([`fleet/a/${String(client)}/t`, 7, 1])
      expect(at).toBeGreaterThanOrEqual(startMs)
      expect(at).toBeLessThanOrEqual(Date.now())
    }
    expect(new Set(lines.map(({ client }) => client))).toEqual(new Set(['d0', 'd1', 'd2']))
  })

  it('records what a NATS server delivers, with pseudonyms', async () => {
    await using server = await startNats()
    const publisher = await connectNats({ servers: `127.0.0.1:${server.port}` })
    const lines = await captureWhile(
      ['--from', server.url, '--subscribe', 'fleet.{device}.>', '--max', '4', '--hash-senders'],
      count => publisher.publish(`fleet.d${count % 2}.t`, 'x'.repeat(9)),
    )
    await publisher.close()
    const devices = new Set(lines.map(({ device }) => String(device)))
    expect(devices.size).toBe(2)
    expect(devices).not.toContain('d0')
    expect(devices).not.toContain('d1')
    for (const { topic, device, size } of lines)
      expect([topic, size]).toEqual([`fleet.${String(device)}.t`, 9])
  })

  it('knows how often and how long its connection was lost', async () => {
    const publishMqtt = async (port: number): Promise<void> => {
      await using publisher = await connectClient({ port, clientId: 'publisher' })
      await publisher.client.publishAsync('a/b', '', { qos: 1 })
    }
    const publishNats = async (port: number): Promise<void> => {
      const publisher = await connectNats({ servers: `127.0.0.1:${port}` })
      publisher.publish('a.b')
      await publisher.drain()
    }
    await expectGap(startMosquitto, captureFromMqtt, 'a/b', publishMqtt)
    await expectGap(startNats, captureFromNats, 'a.b', publishNats)
  })

  it('ends with the reason if the broker cannot be reached or the command is incomplete', async () => {
    const gone = await runCommand(['capture', '--from', 'mqtt://ann:secret@127.0.0.1:1', '--subscribe', '#'])
    expect(gone.exitCode).toBe(69)
    expect(gone.err).toContain('mqtt://127.0.0.1:1 cannot be reached: ')
    const nats = await runCommand(['capture', '--from', 'nats://127.0.0.1:1', '--subscribe', '>'])
    expect([nats.exitCode, nats.err]).toEqual([
      69,
      expect.stringContaining('nats://127.0.0.1:1 cannot be reached'),
    ])
    const errorOf = async (...args: string[]): Promise<string> => {
      const { exitCode, err } = await runCommand(['capture', ...args])
      expect(exitCode).toBe(2)
      return err
    }
    expect(await errorOf('--from', 'mqtt://h')).toContain('--from needs a topic (add --subscribe')
    expect(await errorOf('--from', 'http://h', '--subscribe', '#')).toContain(
      'http://h is not a broker (use mqtt',
    )
    expect(await errorOf('--subscribe', '#')).toContain('--subscribe needs a broker (add --from')
    expect(await errorOf('--pcap', 'x', '--from', 'mqtt://h')).toContain('cannot be combined (name one)')
    expect(await errorOf('--from', 'mqtt://h', '--subscribe', 'a/{b')).toContain(
      '"a/{b" is not a topic (write a whole',
    )
    expect(await errorOf()).toContain('the audit log needs a reason (add --reason')
  })
})

/** Records the packets of a port with tcpdump while a function runs, until the file has the payload sent last. */
async function recordPackets(
  file: string,
  port: number,
  last: string,
  run: () => Promise<void>,
): Promise<void> {
  const tcpdump = findBinary({ program: 'tcpdump', variable: 'TOPICGATE_TCPDUMP' })
  const command = [tcpdump, '-i', 'lo', '-U', '-B', '65536', '-w', file, 'port', String(port)]
  const [program, ...args] = process.getuid?.() === 0 ? command : ['sudo', '-n', ...command]
  const recording = spawn(program!, args, { stdio: ['ignore', 'ignore', 'pipe'] })
  let printed = ''
  recording.stderr.on('data', chunk => {
    printed += String(chunk)
  })
  const ended = new Promise(resolve => recording.once('exit', resolve))
  try {
    await until(() => printed.includes('listening on'), { what: () => `tcpdump: ${printed}` })
    await run()
    await until(() => readFileSync(file).includes(last), { what: 'the last packet' })
  } finally {
    recording.kill('SIGINT')
    await ended
    expect(printed).toContain('0 packets dropped by kernel')
  }
}

function runProgram(program: string, variable: string, args: readonly string[], stdin = ''): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(findBinary({ program, variable }), args, { stdio: ['pipe', 'ignore', 'inherit'] })
    child.stdin.end(stdin)
    child.once('error', reject)
    child.once('exit', code => (code === 0 ? resolve() : reject(new Error(`${program} ended with ${code}`))))
  })
}

describe('a capture of a pcap', () => {
  const { PATH } = process.env
  beforeAll(() => {
    const tshark = findBinary({ program: 'tshark', variable: 'TOPICGATE_TSHARK' })
    process.env.PATH = `${dirname(tshark)}:${PATH}`
  })
  afterAll(() => {
    process.env.PATH = PATH
  })

  it('has the connects and publishes of the clients, whatever the version of MQTT and the packets of a segment', async () => {
    using folder = new Folder()
    await using broker = await startMosquitto()
    const file = join(folder.path, 'traffic.pcap')
    const publish = (args: readonly string[], stdin = ''): Promise<void> =>
      runProgram('mosquitto_pub', 'TOPICGATE_MOSQUITTO_PUB', ['-p', String(broker.port), ...args], stdin)
    await using subscriber = await connectClient({ port: broker.port, clientId: 'before' })
    await subscriber.client.subscribeAsync('#')
    const received: string[] = []
    subscriber.client.on('message', topic => received.push(topic))
    const many = Array.from({ length: 40 }, (_, index) => `line ${index}\n`).join('')
    await recordPackets(file, broker.port, 'the last payload', async () => {
      await publish(['-i', 'd1', '-u', 'ann', '-t', 'fleet/a/d1/t', '-m', 'hello', '-q', '1'])
      await publish(['-i', 'd2', '-t', 'fleet/a/d2/t', '-m', 'hi', '-r'])
      await publish(['-i', 'd3', '-V', '5', '-t', 'fleet/b/d3/t', '-q', '2', '-l'], many)
      await publish(['-i', 'd4', '-V', '31', '-t', 'fleet/b/d4/t', '-n'])
      // What was delivered to it belongs to a connection that began before the recording.
      await until(() => received.length === 43, { what: 'the deliveries' })
      await publish(['-i', 'd5', '-t', 'last', '-m', 'the last payload'])
    })
    const { exitCode, out, err } = await runCommand([
      'capture',
      '--pcap',
      file,
      '--port',
      String(broker.port),
    ])
    expect(exitCode).toBe(0)
    expect(err).toMatch(/^4[34] messages were left out: their connection began before the recording/)
    const lines = linesOf(out)
    const from = (client: string): readonly Line[] => lines.filter(line => line.client === client)
    const ip = '127.0.0.1'
    const connected = { topic: 'connect', on: 'connect', ip, size: 0 }
    expect(from('d1')).toEqual([
      { at: expect.any(Number), client: 'd1', user: 'ann', ...connected },
      {
        at: expect.any(Number),
        topic: 'fleet/a/d1/t',
        client: 'd1',
        user: 'ann',
        ip,
        size: 5,
        qos: 1,
        retain: false,
      },
    ])
    expect(from('d2')[1]).toMatchObject({ topic: 'fleet/a/d2/t', size: 2, qos: 0, retain: true })
    expect(
      from('d3')
        .slice(1)
        .map(({ size, qos }) => [size, qos]),
    ).toEqual(Array.from({ length: 40 }, (_, index) => [`line ${index}`.length, 2]))
    expect(from('d4')[1]).toMatchObject({ topic: 'fleet/b/d4/t', size: 0 })
    expect(from('d5')).toHaveLength(2)
    const times = lines.map(({ at }) => Number(at))
    expect(times).toEqual(times.toSorted((a, b) => a - b))
    const policy = folder.file(
      'policy.yaml',
      'rules: [{ name: r, limit: 1/h burst 10, per: client, exceeded: drop }]',
    )
    const replayed = await runCommand(['replay', policy, '-'], { stdin: out })
    expect(replayed.out).toContain('49 messages')
    expect(replayed.out).toMatch(/^r +14 +30$/m)

    const cut = folder.file('cut.pcap', '')
    writeFileSync(cut, readFileSync(file).subarray(0, -10))
    const short = await runCommand(['capture', '--pcap', cut, '--port', String(broker.port)])
    expect([short.exitCode, short.err]).toEqual([
      0,
      expect.stringContaining('cut.pcap ends within a packet (end tcpdump'),
    ])
    expect(linesOf(short.out).slice(0, 40)).toEqual(lines.slice(0, 40))
    const other = await runCommand(['capture', '--pcap', file, '--port', '1'])
    expect(other.err).toMatch(
      /traffic\.pcap has no message at port 1 \(name the port of the broker with --port\)/,
    )
  })

  it('that is no recording, or is missing, ends with the file and the remedy', async () => {
    using folder = new Folder()
    const file = folder.file('text.pcap', 'this is not a recording\n'.repeat(10))
    const damaged = await runCommand(['capture', '--pcap', file])
    expect(damaged.exitCode).toBe(1)
    expect(damaged.err).toMatch(
      /text\.pcap: .*isn't a capture file.* \(record it with tcpdump -w FILE port 1883\)/s,
    )
    const missing = await runCommand(['capture', '--pcap', join(folder.path, 'none.pcap')])
    expect([missing.exitCode, missing.err]).toEqual([
      1,
      expect.stringContaining('none.pcap: there is no such file'),
    ])
  })

  it('tells how to install tshark where it is missing', async () => {
    using folder = new Folder()
    const file = folder.file('traffic.pcap', 'x')
    const path = process.env.PATH
    process.env.PATH = folder.path
    try {
      const { exitCode, err } = await runCommand(['capture', '--pcap', file])
      expect([exitCode, err]).toEqual([
        69,
        expect.stringContaining('(install it: apt-get install tshark, or brew'),
      ])
    } finally {
      process.env.PATH = path
    }
  })
})
