import { execFile } from 'node:child_process'
import { appendFileSync, chmodSync, readFileSync, writeFileSync } from 'node:fs'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { runCommand } from '../src/cli/fake-terminal.ts'
import { Folder } from '../src/cli/folder.ts'
import { ensureBuilt } from '../support/built.ts'
import { startMosquitto } from '../support/mosquitto.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { findBinary } from '../support/server.ts'
import { until } from '../support/wait.ts'
import { logged, startCommand } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

const run = promisify(execFile)
const MOSQUITTO_PASSWD = { program: 'mosquitto_passwd', variable: 'TOPICGATE_MOSQUITTO_PASSWD' }
const POLICY = 'rules: [{ name: all, per: client, limit: 1000/s }]'

/** Sets a password with the command, which reads it from stdin. */
async function setPassword(file: string, user: string, password: string): Promise<void> {
  const { exitCode, err } = await runCommand(['passwd', file, user, '--iterations', '10'], {
    stdin: `${password}\n`,
  })
  expect(err).toBe('')
  expect(exitCode).toBe(0)
}

/** Returns the return code of the CONNACK; 0 if the client is accepted. */
async function connackOf(port: number, username?: string, password?: string): Promise<number> {
  try {
    await using client = await connectClient({ port, username, password })
    return client.connack.returnCode ?? 0
  } catch (error) {
    return (error as { code?: number }).code ?? -1
  }
}

describe('topicgate broker --password-file', () => {
  it('accepts the users of a file that mosquitto_passwd wrote, and no others', async () => {
    using folder = new Folder()
    const file = folder.file('passwords', '# sha512, as mosquitto 1.6 wrote it\n')
    const binary = findBinary(MOSQUITTO_PASSWD)
    await run(binary, ['-b', file, 'ann', 'one'])
    await run(binary, ['-b', '-H', 'sha512', file, 'bob', 'twö'])
    expect(readFileSync(file, 'utf8')).toMatch(/^ann:\$7\$.*\nbob:\$6\$/m)
    await using broker = startCommand(
      ...['broker', folder.file('policy.yaml', POLICY), '--port', '0', '--ws', '0', '--password-file', file],
    )
    const { port, wsPort } = await logged(broker, /ready/)
    expect(await connackOf(Number(port), 'ann', 'one')).toBe(0)
    expect(await connackOf(Number(port), 'bob', 'twö')).toBe(0)
    expect(await connackOf(Number(port), 'ann', 'two')).toBe(4)
    expect(await connackOf(Number(port), 'eve', 'one')).toBe(4)
    expect(await connackOf(Number(port), 'ann')).toBe(4)
    expect(await connackOf(Number(port))).toBe(5)
    const overWebSocket = { port: Number(wsPort), protocol: 'ws', username: 'ann' } as const
    await using client = await connectClient({ ...overWebSocket, password: 'one' })
    expect(client.connack.returnCode).toBe(0)
    await expect(connectClient({ ...overWebSocket, password: 'two' })).rejects.toThrow(
      'Bad username or password',
    )
    expect(await logged(broker, /was not authenticated/)).toMatchObject({ user: 'ann', ip: '127.0.0.1' })
  })

  it('mosquitto accepts the users of a file that the command wrote', async () => {
    using folder = new Folder()
    const file = folder.file('passwords', '')
    await setPassword(file, 'ann', 'one')
    await setPassword(file, 'bob', 'old')
    await setPassword(file, 'bob', 'pä ss')
    await setPassword(file, 'eve', 'gone')
    expect(await runCommand(['passwd', file, 'eve', '--delete'])).toMatchObject({
      exitCode: 0,
      out: 'removed eve\n',
    })
    // Mosquitto may run as another user.
    chmodSync(folder.path, 0o755)
    chmodSync(file, 0o644)
    await using mosquitto = await startMosquitto({
      config: ['allow_anonymous false', `password_file ${file}`],
    })
    expect(await connackOf(mosquitto.port, 'ann', 'one')).toBe(0)
    expect(await connackOf(mosquitto.port, 'bob', 'pä ss')).toBe(0)
    expect(await connackOf(mosquitto.port, 'bob', 'old')).toBe(5)
    expect(await connackOf(mosquitto.port, 'eve', 'gone')).toBe(5)
  })

  it('reads a changed file and disconnects users that changed; a broken file leaves the old one in force', async () => {
    using folder = new Folder()
    const file = folder.file('passwords', '')
    for (const user of ['ann', 'bob', 'eve']) await setPassword(file, user, 'one')
    await using broker = startCommand(
      ...['broker', folder.file('policy.yaml', POLICY), '--port', '0'],
      ...['--password-file', file, '--allow-anonymous'],
    )
    const port = Number((await logged(broker, /ready/)).port)
    await using ann = await connectClient({ port, username: 'ann', password: 'one' })
    await using bob = await connectClient({ port, username: 'bob', password: 'one' })
    await using eve = await connectClient({ port, username: 'eve', password: 'one' })
    await using anonymous = await connectClient({ port })

    await setPassword(file, 'bob', 'two')
    await runCommand(['passwd', file, 'eve', '--delete'])
    broker.signal('SIGHUP')
    await until(() => !bob.client.connected && !eve.client.connected)
    expect([ann.client.connected, anonymous.client.connected]).toEqual([true, true])
    expect(await connackOf(port, 'bob', 'one')).toBe(4)
    expect(await connackOf(port, 'bob', 'two')).toBe(0)
    expect(await connackOf(port, 'eve', 'one')).toBe(4)

    const good = readFileSync(file, 'utf8')
    appendFileSync(file, 'joe:in plain text\n')
    broker.signal('SIGHUP')
    const problem = await logged(broker, /is not a hash of mosquitto_passwd/)
    expect(problem).toMatchObject({ level: 50, file, line: 3 })
    expect(broker.stdout).not.toContain('in plain text')
    await logged(broker, /the password file was not reloaded, the old one stays/)
    expect(await connackOf(port, 'bob', 'two')).toBe(0)
    writeFileSync(file, good)
  })

  it('connect rules decide before a password is hashed, and failed connects count for them', async () => {
    using folder = new Folder()
    const file = folder.file('passwords', '')
    await setPassword(file, 'ann', 'one')
    const policy = 'rules: [{ name: guesses, on: connect, per: ip, limit: 3/day, exceeded: reject }]'
    await using broker = startCommand(
      ...['broker', folder.file('policy.yaml', policy), '--port', '0', '--password-file', file],
    )
    const port = Number((await logged(broker, /ready/)).port)
    for (let n = 0; n < 3; n++) expect(await connackOf(port, 'ann', `guess ${n}`)).toBe(4)
    expect(await connackOf(port, 'ann', 'guess 4')).toBe(3)
    expect(await connackOf(port, 'ann', 'one')).toBe(3)
  })

  it('does not start with a broken file, and needs one for --allow-anonymous', async () => {
    using folder = new Folder()
    const policy = folder.file('policy.yaml', POLICY)
    const file = folder.file('passwords', 'ann:secret\n')
    await using broker = startCommand('broker', policy, '--port', '0', '--password-file', file)
    expect(await broker.ended).toMatchObject({ code: 1, stderr: expect.stringContaining(`${file}:1: `) })
    const flags = await runCommand(['broker', policy, '--allow-anonymous'])
    expect(flags.exitCode).toBe(2)
    expect(flags.err).toContain('--allow-anonymous belongs to --password-file')
  })
})
