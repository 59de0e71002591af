import { execFile } from 'node:child_process'
import { copyFileSync, mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { type ConnectionOptions, connect as connectTls } from 'node:tls'
import { promisify } from 'node:util'
import type { IClientOptions } from 'mqtt'
import { beforeAll, describe, expect, it } from 'vitest'
import { runCommand } from '../src/cli/fake-terminal.ts'
import { Folder } from '../src/cli/folder.ts'
import { ensureBuilt } from '../support/built.ts'
import { connectClient } from '../support/mqtt-client.ts'
import { findBinary } from '../support/server.ts'
import { type Certificate, makeCertificate } from '../support/tls.ts'
import { until } from '../support/wait.ts'
import { logged, startCommand } from './cli.ts'

beforeAll(ensureBuilt, 120_000)

const run = promisify(execFile)
const POLICY = 'rules: [{ name: all, per: user, limit: 3/day, exceeded: drop }]'

interface ClientCertificate {
  readonly cert: Buffer
  readonly key: Buffer
}

/** Makes an authority for client certificates; returns its file and a function that issues one for a name. */
async function makeAuthority(
  folder: string,
): Promise<{ caFile: string; issue(name: string): Promise<ClientCertificate> }> {
  const [caFile, caKey] = [join(folder, 'ca.pem'), join(folder, 'ca.key')]
  const newKey = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes']
  await run('openssl', [
    ...['req', '-x509', ...newKey, '-days', '1', '-subj', '/CN=Clients', '-keyout', caKey, '-out', caFile],
  ])
  const issue = async (name: string): Promise<ClientCertificate> => {
    const path = (ending: string): string => join(folder, `${name}.${ending}`)
    await run('openssl', [
      ...['req', ...newKey, '-subj', `/CN=${name}`, '-keyout', path('key'), '-out', path('csr')],
    ])
    await run('openssl', [
      ...['x509', '-req', '-in', path('csr'), '-CA', caFile, '-CAkey', caKey, '-CAcreateserial'],
      ...['-days', '1', '-out', path('pem')],
    ])
    return { cert: readFileSync(path('pem')), key: readFileSync(path('key')) }
  }
  return { caFile, issue }
}

/** Returns the serial number of the certificate that a server shows. */
function serialOf(port: number, ca: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host: '127.0.0.1', port, ca }, () => {
      resolve(socket.getPeerCertificate().serialNumber)
      socket.destroy()
    })
    socket.on('error', reject)
  })
}

/** Returns the names of the certificate that a server shows to a client that asks for `servername`. */
function namesFor(port: number, servername: string): Promise<string | undefined> {
  return new Promise((resolve, reject) => {
    const options = { host: '127.0.0.1', port, servername, rejectUnauthorized: false }
    const socket = connectTls(options, () => {
      resolve(socket.getPeerCertificate().subjectaltname)
      socket.destroy()
    })
    socket.on('error', reject)
  })
}

/** Connects twice, and returns true if the second connection resumes the session of the first one. */
async function canResume(options: ConnectionOptions): Promise<boolean> {
  const session = await new Promise<Buffer>((resolve, reject) => {
    const socket = connectTls({ ...options, rejectUnauthorized: false })
    socket.on('error', reject)
    socket.once('session', found => {
      resolve(found)
      socket.destroy()
    })
  })
  return new Promise((resolve, reject) => {
    const socket = connectTls({ ...options, session, rejectUnauthorized: false }, () => {
      resolve(socket.isSessionReused())
      socket.destroy()
    })
    socket.on('error', reject)
  })
}

describe('topicgate broker over TLS', () => {
  it('serves MQTT and WebSocket over TLS, limited as usual, and no plain listener unless asked', async () => {
    using folder = new Folder()
    const { certFile, keyFile, ca } = await makeCertificate(folder.path)
    const policy = folder.file('policy.yaml', POLICY.replace('user', 'client'))
    const tls = ['--tls', '0', '--wss', '0', '--tls-cert', certFile, '--tls-key', keyFile]
    await using broker = startCommand('broker', policy, ...tls)
    const { port, tlsPort, wssPort, msg } = await logged(broker, /ready/)
    expect(port).toBeUndefined()
    expect(msg).toBe(`ready: mqtts://127.0.0.1:${tlsPort} wss://127.0.0.1:${wssPort}`)
    for (const [protocol, bound] of [
      ['mqtts', tlsPort],
      ['wss', wssPort],
    ] as const) {
      await using client = await connectClient({ port: Number(bound), protocol, ca, clientId: protocol })
      await client.subscribe(protocol, 1)
      for (let n = 0; n < 5; n++) await client.publish(protocol, String(n), { qos: 1 })
      await client.received(3)
      expect(client.messages.map(({ text }) => text)).toEqual(['0', '1', '2'])
    }
    const publisher = findBinary({ program: 'mosquitto_pub', variable: 'TOPICGATE_MOSQUITTO_PUB' })
    await using subscriber = await connectClient({ port: Number(tlsPort), protocol: 'mqtts', ca })
    await subscriber.subscribe('from/mosquitto', 1)
    const target = ['-h', '127.0.0.1', '-p', String(tlsPort), '--cafile', certFile]
    await run(publisher, [...target, '-t', 'from/mosquitto', '-m', 'hello', '-q', '1'])
    await subscriber.received(1)
    expect(subscriber.messages[0]?.text).toBe('hello')
  })

  it('takes user names from certificates, whose owners need no password', async () => {
    using folder = new Folder()
    const { certFile, keyFile, ca } = await makeCertificate(folder.path)
    const authority = await makeAuthority(folder.path)
    // Not issued by the authority.
    const stranger = { cert: readFileSync(certFile), key: readFileSync(keyFile) }
    const passwords = folder.file('passwords', '')
    await runCommand(['passwd', passwords, 'bob', '--iterations', '5'], { stdin: 'two' })
    const acl = folder.file('acl', 'pattern %u/#\n')
    await using broker = startCommand(
      ...['broker', folder.file('policy.yaml', POLICY), '--tls', '0', '--wss', '0', '--port', '0'],
      ...[
        '--tls-cert',
        certFile,
        '--tls-key',
        keyFile,
        '--tls-ca',
        authority.caFile,
        '--username-from',
        'cn',
      ],
      ...['--password-file', passwords, '--acl-file', acl],
    )
    const { port, tlsPort, wssPort } = await logged(broker, /ready/)
    const login = { username: 'bob', password: 'two' }
    const overTls: IClientOptions & { port: number } = { port: Number(tlsPort), protocol: 'mqtts', ca }
    const certificate = await authority.issue('ann')
    for (const options of [overTls, { ...overTls, port: Number(wssPort), protocol: 'wss' as const }]) {
      // The name in the CONNECT has no effect.
      await using ann = await connectClient({ ...options, ...certificate, ...login, password: 'wrong' })
      await ann.subscribe('#', 1)
      await ann.publish('bob/x', 'not hers', { qos: 1 })
      await ann.publish('ann/x', String(options.protocol), { qos: 1 })
      await ann.received(1)
      expect(ann.messages.map(({ text }) => text)).toEqual([options.protocol])
    }
    await using bob = await connectClient({ ...overTls, ...login })
    expect(bob.client.connected).toBe(true)
    await expect(connectClient(overTls)).rejects.toThrow('Not authorized')
    await expect(connectClient({ ...overTls, ...stranger, username: 'ann' })).rejects.toThrow('Bad username')
    await expect(connectClient({ port: Number(port), username: 'ann' })).rejects.toThrow('Bad username')
  })

  it('refuses clients without a valid certificate if it is required', async () => {
    using folder = new Folder()
    const { certFile, keyFile, ca } = await makeCertificate(folder.path)
    const authority = await makeAuthority(folder.path)
    await using broker = startCommand(
      ...['broker', folder.file('policy.yaml', POLICY), '--tls', '0', '--tls-cert', certFile],
      ...['--tls-key', keyFile, '--tls-ca', authority.caFile, '--require-certificate'],
    )
    const port = Number((await logged(broker, /ready/)).tlsPort)
    await using ann = await connectClient({ port, protocol: 'mqtts', ca, ...(await authority.issue('ann')) })
    expect(ann.connack.returnCode).toBe(0)
    await expect(connectClient({ port, protocol: 'mqtts', ca })).rejects.toThrow()
    const own = { cert: readFileSync(certFile), key: readFileSync(keyFile) }
    await expect(connectClient({ port, protocol: 'mqtts', ca, ...own })).rejects.toThrow()
  })

  it('shows a changed certificate to new connections; a key of another one leaves the old one in force', async () => {
    using folder = new Folder()
    using other = new Folder()
    const { certFile, keyFile, ca } = await makeCertificate(folder.path)
    await using broker = startCommand(
      ...[
        'broker',
        folder.file('policy.yaml', POLICY),
        '--tls',
        '0',
        '--tls-cert',
        certFile,
        '--tls-key',
        keyFile,
      ],
    )
    const port = Number((await logged(broker, /ready/)).tlsPort)
    const before = await serialOf(port, ca)
    await using client = await connectClient({ port, protocol: 'mqtts', ca })

    const next = await makeCertificate(other.path)
    copyFileSync(next.certFile, certFile)
    broker.signal('SIGHUP')
    await logged(broker, /the key does not belong to/)
    await logged(broker, /the certificate was not reloaded, the old one stays/)
    expect(await serialOf(port, ca)).toBe(before)

    copyFileSync(next.keyFile, keyFile)
    await until(async () => (await serialOf(port, next.ca).catch(() => before)) !== before)
    expect(client.client.connected).toBe(true)
  })

  it('shows each client the certificate of the name that it asks for, also after a reload', async () => {
    using folder = new Folder()
    const make = (names: string): Promise<Certificate> =>
      makeCertificate(mkdtempSync(join(folder.path, 'certificate-')), names)
    const [first, wild, exact] = [
      await make('DNS:localhost'),
      await make('DNS:*.example.com'),
      await make('DNS:mqtt.example.org'),
    ]
    const authority = await makeAuthority(folder.path)
    const files = [first, wild, exact].flatMap(({ certFile, keyFile }) => [
      ...['--tls-cert', certFile],
      ...['--tls-key', keyFile],
    ])
    const policy = folder.file('policy.yaml', POLICY)
    await using broker = startCommand(
      ...['broker', policy, '--tls', '0', ...files, '--tls-ca', authority.caFile],
    )
    const port = Number((await logged(broker, /ready/)).tlsPort)
    const { cert, key } = await authority.issue('ann')
    const shown = async (servername: string): Promise<string | undefined> => {
      const options = { host: '127.0.0.1', port, servername, cert, key }
      expect(await canResume(options)).toBe(true)
      return namesFor(port, servername)
    }
    expect(await shown('localhost')).toBe('DNS:localhost')
    expect(await shown('a.example.com')).toBe('DNS:*.example.com')
    expect(await shown('mqtt.example.org')).toBe('DNS:mqtt.example.org')
    expect(await shown('other.example.org')).toBe('DNS:localhost')
    const next = await make('DNS:mqtt.example.net')
    copyFileSync(next.certFile, exact.certFile)
    copyFileSync(next.keyFile, exact.keyFile)
    broker.signal('SIGHUP')
    await until(async () => (await namesFor(port, 'mqtt.example.net')) === 'DNS:mqtt.example.net')
    expect(await shown('mqtt.example.org')).toBe('DNS:localhost')
  })

  it('does not start with files that are no certificate, or with flags that lack a part', async () => {
    using folder = new Folder()
    const { certFile, keyFile } = await makeCertificate(folder.path)
    const policy = folder.file('policy.yaml', POLICY)
    writeFileSync(join(folder.path, 'none.pem'), 'secret')
    const none = join(folder.path, 'none.pem')
    for (const [files, message] of [
      [['--tls-cert', none, '--tls-key', keyFile], 'this is not a certificate in PEM'],
      [['--tls-cert', certFile, '--tls-key', none], 'this is not a private key in PEM without a passphrase'],
      [['--tls-cert', certFile, '--tls-key', keyFile, '--tls-ca', none], 'this is not a certificate in PEM'],
    ] as const) {
      const { exitCode, err } = await runCommand(['broker', policy, '--tls', '0', ...files])
      expect({ exitCode, err }).toEqual({ exitCode: 1, err: expect.stringContaining(message) })
      expect(err).not.toContain('secret')
    }
    for (const [flags, message] of [
      [['--tls', '0'], '--tls and --wss need a certificate'],
      [['--tls-cert', certFile, '--tls-key', keyFile], 'need a TLS listener'],
      [
        ['--tls', '0', '--tls-cert', certFile, '--tls-cert', certFile, '--tls-key', keyFile],
        'there are 2 --tls-cert and 1 --tls-key (give each certificate its key, in the same order)',
      ],
      [['--tls', '0', '--require-certificate'], 'add --tls-ca'],
      [['--username-from', 'cn'], 'add --tls-ca'],
    ] as const) {
      const { exitCode, err } = await runCommand(['broker', policy, ...flags])
      expect({ exitCode, err }).toEqual({ exitCode: 2, err: expect.stringContaining(message) })
    }
  })
})
