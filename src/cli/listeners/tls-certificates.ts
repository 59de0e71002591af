import { createPrivateKey, X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createSecureContext, type SecureContext, type Server, type TlsOptions } from 'node:tls'
import { PolicyError } from '../../core/errors.ts'
import type { Logger } from '../../index.ts'

/** Files of a certificate, in PEM. */
export interface CertificateFileOptions {
  /** Certificate, followed by those of its intermediate authorities. */
  readonly certFile: string
  readonly keyFile: string
}

/** Files of TLS listeners, in PEM. */
export interface TlsFileOptions {
  /** A client gets the first one with the name that it asks for (SNI), else the first of all. */
  readonly certificates: readonly [CertificateFileOptions, ...CertificateFileOptions[]]
  /** Authorities of client certificates. Default: clients need none. */
  readonly caFile?: string | undefined
  /** True if clients without a valid certificate are refused. */
  readonly requireCertificate: boolean
}

/** Maximum time of a TLS handshake. */
const HANDSHAKE_MS = 10_000

/** Contents of the files of a certificate and of the authorities, as Node expects them. */
interface CertificateContents {
  readonly cert: Buffer
  readonly key: Buffer
  readonly ca: Buffer | undefined
}

/** A certificate in force. */
interface LoadedCertificate {
  readonly certificate: X509Certificate
  readonly contents: CertificateContents
  readonly context: SecureContext
}

interface LoadedFiles {
  readonly certificates: readonly [LoadedCertificate, ...LoadedCertificate[]]
  /** Time at which each certificate expires, by file. */
  readonly expiries: ReadonlyMap<string, number>
}

/** Certificates and keys of TLS servers, which can be loaded again while they run. */
export class TlsCertificates {
  readonly #options: TlsFileOptions
  readonly #logger: Logger
  readonly #servers: Server[] = []
  #loaded: LoadedFiles

  private constructor(options: TlsFileOptions, loaded: LoadedFiles, logger: Logger) {
    this.#options = options
    this.#loaded = loaded
    this.#logger = logger
  }

  /** Reads the files. Rejects with PolicyError if one is invalid or a key is of another certificate. */
  static async open(options: TlsFileOptions, logger: Logger): Promise<TlsCertificates> {
    return new TlsCertificates(options, await loadFiles(options), logger)
  }

  get files(): readonly string[] {
    const { certificates, caFile } = this.#options
    const files = certificates.flatMap(({ certFile, keyFile }) => [certFile, keyFile])
    return caFile === undefined ? files : [...files, caFile]
  }

  /** Returns the time at which each certificate in force expires, by file. */
  readExpiries(): ReadonlyMap<string, number> {
    return this.#loaded.expiries
  }

  /** Returns the options of a new server. */
  get serverOptions(): TlsOptions {
    const { caFile, requireCertificate } = this.#options
    return {
      ...this.#loaded.certificates[0].contents,
      SNICallback: (name, done) => done(null, this.#find(name).context),
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
    this.#loaded = await loadFiles(this.#options)
    for (const server of this.#servers) server.setSecureContext(this.#loaded.certificates[0].contents)
    this.#logger.info({ files: this.files }, 'TLS files reloaded')
  }

  #find(name: string): LoadedCertificate {
    const { certificates } = this.#loaded
    return (
      certificates.find(({ certificate }) => certificate.checkHost(name) !== undefined) ?? certificates[0]
    )
  }
}

async function loadFiles({ certificates, caFile }: TlsFileOptions): Promise<LoadedFiles> {
  const ca = caFile === undefined ? undefined : await read(caFile)
  const [first, ...others] = certificates
  const loaded: [LoadedCertificate, ...LoadedCertificate[]] = [await loadCertificate(first, ca)]
  for (const files of others) loaded.push(await loadCertificate(files, ca))
  const expiries = new Map<string, number>()
  for (const [index, { certFile }] of certificates.entries())
    expiries.set(certFile, Date.parse(loaded[index]!.certificate.validTo))
  if (caFile !== undefined && ca !== undefined) {
    const authority = parse(caFile, 'a certificate in PEM', () => new X509Certificate(ca))
    expiries.set(caFile, Date.parse(authority.validTo))
  }
  return { certificates: loaded, expiries }
}

async function loadCertificate(
  { certFile, keyFile }: CertificateFileOptions,
  ca: Buffer | undefined,
): Promise<LoadedCertificate> {
  const cert = await read(certFile)
  const key = await read(keyFile)
  const certificate = parse(certFile, 'a certificate in PEM', () => new X509Certificate(cert))
  const privateKey = parse(keyFile, 'a private key in PEM without a passphrase', () => createPrivateKey(key))
  if (!certificate.checkPrivateKey(privateKey))
    throw fileError(keyFile, `the key does not belong to ${certFile}`, 'replace both files')
  const contents = { cert, key, ca }
  return { certificate, contents, context: createSecureContext(contents) }
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
