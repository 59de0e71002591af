import { X509Certificate } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import { createSecureContext, type SecureContext } from 'node:tls'
import type { Logger } from '../../index.ts'
import { CommandError, EXIT } from '../terminal/command-error.ts'

/** Files in PEM for connections to brokers over TLS. */
export interface UpstreamTlsFiles {
  /** Authorities of the certificates of brokers. Default: those of Node. */
  readonly caFile: string | undefined
  /** Certificate and key that the gateway shows to brokers. */
  readonly certFile: string | undefined
  readonly keyFile: string | undefined
}

/** Certificates for connections to brokers over TLS, which can be loaded again while the gateway runs. */
export class UpstreamTls {
  readonly #files: UpstreamTlsFiles
  readonly #logger: Logger
  #context: SecureContext

  private constructor(files: UpstreamTlsFiles, context: SecureContext, logger: Logger) {
    this.#files = files
    this.#context = context
    this.#logger = logger
  }

  /** Reads the files. Rejects with CommandError if one cannot be used. */
  static async open(files: UpstreamTlsFiles, logger: Logger): Promise<UpstreamTls> {
    return new UpstreamTls(files, await readContext(files), logger)
  }

  get files(): readonly string[] {
    const { caFile, certFile, keyFile } = this.#files
    return [caFile, certFile, keyFile].filter(file => file !== undefined)
  }

  /** Context of new connections. */
  get context(): SecureContext {
    return this.#context
  }

  /** Reads the files again. Rejects with CommandError if one cannot be used; then the earlier ones stay in force. */
  async reload(): Promise<void> {
    this.#context = await readContext(this.#files)
    this.#logger.info({ files: this.files }, 'TLS files for brokers reloaded')
  }
}

async function readContext({ caFile, certFile, keyFile }: UpstreamTlsFiles): Promise<SecureContext> {
  const read = async (file: string | undefined): Promise<Buffer | undefined> =>
    file === undefined ? undefined : readFile(file)
  try {
    const [ca, cert, key] = await Promise.all([caFile, certFile, keyFile].map(read))
    // A context ignores authorities that it cannot read.
    if (ca !== undefined) void new X509Certificate(ca)
    return createSecureContext({ ca, cert, key })
  } catch (cause) {
    const { code = 'not in PEM' } = cause as NodeJS.ErrnoException
    const names = 'the file of --upstream-ca, --upstream-cert or --upstream-key'
    throw new CommandError(`${names} cannot be used: ${code} (name files in PEM)`, EXIT.usage, { cause })
  }
}
