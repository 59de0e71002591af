import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { Server, TlsOptions } from 'node:tls'
import { PolicyError } from '../../core/errors.ts'
import type { Logger } from '../../index.ts'

/** Files of TLS listeners, in PEM. */
export interface TlsFileOptions {
  /** Certificate, followed by those of its intermediate authorities. */
  readonly certFile: string
  readonly keyFile: string
  /** Authorities of client certificates. Default: clients need none. */
  readonly caFile?: string | undefined
  /** True if clients without a valid certificate are refused. */
  readonly requireCertificate: boolean
}

/** Maximum time of a TLS handshake. */
const HANDSHAKE_MS = 10_000

/** Contents of the files. */
interface CertificateFiles {
  readonly cert: Buffer
  readonly key: Buffer
  readonly ca?: Buffer
}

/** Certificate and key of TLS servers, which can be loaded again while they run. */
export class TlsCertificates {
  readonly #options: TlsFileOptions
  readonly #logger: Logger
  readonly #servers: Server[] = []
  #context: CertificateFiles

  private constructor(options: TlsFileOptions, context: CertificateFiles, logger: Logger) {
    this.#options = options
    this.#context = context
    this.#logger = logger
  }

  /** Reads the files. Rejects with PolicyError if one is invalid or the key is of another certificate. */
  static async open(options: TlsFileOptions, logger: Logger): Promise<TlsCertificates> {
    return new TlsCertificates(options, await readContext(options), logger)
  }

  get files(): readonly string[] {
    const { certFile, keyFile, caFile } = this.#options
    return caFile === undefined ? [certFile, keyFile] : [certFile, keyFile, caFile]
  }

  /** Returns the time at which each certificate in force expires, by file. */
  readExpiries(): ReadonlyMap<string, number> {
    const { certFile, caFile } = this.#options
    const { cert, ca } = this.#context
    const expiries = new Map<string, number>()
    expiries.set(certFile, expiryOf(cert))
    if (caFile !== undefined && ca !== undefined) expiries.set(caFile, expiryOf(ca))
    return expiries
  }

  /** Returns the options of a new server. */
  get serverOptions(): TlsOptions {
    const { caFile, requireCertificate } = this.#options
    return {
      ...this.#context,
      handshakeTimeout: HANDSHAKE_MS,
      requestCert: caFile !== undefined,
      rejectUnauthorized: requireCertificate,
    }
  }

  /** Lets a server use the files of later reloads. */
  attach(server: Server): void {
    this.#servers.push(server)
  }

  /**
   * Reads the files again; new connections use them. Rejects with PolicyError if one is invalid; then the earlier ones
   * stay in force.
   */
  async reload(): Promise<void> {
    this.#context = await readContext(this.#options)
    for (const server of this.#servers) server.setSecureContext(this.#context)
    this.#logger.info({ files: this.files }, 'TLS files reloaded')
  }
}

function expiryOf(certificate: Buffer): number {
  return Date.parse(new X509Certificate(certificate).validTo)
}

async function readContext({ certFile, keyFile, caFile }: TlsFileOptions): Promise<CertificateFiles> {
  const cert = await read(certFile)
  const key = await read(keyFile)
  const certificate = parse(certFile, 'a certificate in PEM', () => new X509Certificate(cert))
  const privateKey = parse(keyFile, 'a private key in PEM without a passphrase', () => createPrivateKey(key))
  if (!certificate.checkPrivateKey(privateKey))
    throw fileError(keyFile, `the key does not belong to ${certFile}`, 'replace both files')
  if (caFile === undefined) return { cert, key }
  const ca = await read(caFile)
  parse(caFile, 'a certificate in PEM', () => new X509Certificate(ca))
  return { cert, key, ca }
}

async function read(file: string): Promise<Buffer> {
  try {
    return await readFile(file)
  } catch (cause) {
    const { code = String(cause) } = cause as NodeJS.ErrnoException
    throw fileError(file, `the file cannot be read: ${code}`, 'name a file in PEM', cause)
  }
}

/** Never reports the contents of a file: it may be a key. */
function parse<T>(file: string, expected: string, parseContents: () => T): T {
  try {
    return parseContents()
  } catch (cause) {
    throw fileError(file, `this is not ${expected}`, 'openssl shows the contents of PEM files', cause)
  }
}

function fileError(file: string, message: string, remedy: string, cause?: unknown): PolicyError {
  return new PolicyError([{ file, message, remedy }], { cause })
}
