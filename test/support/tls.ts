import { execFile } from 'node:child_process'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)

export interface Certificate {
  readonly certFile: string
  readonly keyFile: string
  /** PEM text of the certificate, which is its own authority. */
  readonly ca: string
}

/** Creates a self-signed certificate in a folder, valid for a day. `names` are its subject alternative names. */
export async function makeCertificate(
  folder: string,
  names = 'DNS:localhost,IP:127.0.0.1',
): Promise<Certificate> {
  const [certFile, keyFile] = [join(folder, 'cert.pem'), join(folder, 'key.pem')]
  await run('openssl', [
    ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '1'],
    ...['-keyout', keyFile, '-out', certFile, '-subj', '/CN=localhost'],
    ...['-addext', `subjectAltName=${names}`],
  ])
  return { certFile, keyFile, ca: await readFile(certFile, 'utf8') }
}
