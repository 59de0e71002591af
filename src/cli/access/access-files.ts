import type { Logger } from '../../index.ts'
import type { TlsCertificates, TlsFileOptions } from '../listeners/tls-certificates.ts'
import type { AclAuthorization } from './acl-authorization.ts'
import type { AuthenticationOptions, ClientAuthentication } from './client-authentication.ts'

export interface BrokerAccessOptions {
  /** Default: every client may connect. */
  readonly authentication?: AuthenticationOptions | undefined
  /** Default: clients may publish and read every topic. */
  readonly aclFile?: string | undefined
  /** Files of the TLS listeners. */
  readonly tls?: TlsFileOptions | undefined
}

/** Passwords, ACL and certificates of a broker; each may be absent. */
export interface BrokerAccess {
  readonly authentication: ClientAuthentication | undefined
  readonly authorization: AclAuthorization | undefined
  readonly certificates: TlsCertificates | undefined
}

/** Files to watch, and the function that reads them again. */
export interface ReloadableFiles {
  readonly name: string
  readonly files: readonly string[]
  readonly reload: () => Promise<void>
}

/** Reads the files that decide who may connect, publish and read. Their code is loaded on use. Rejects with PolicyError. */
export async function openBrokerAccess(options: BrokerAccessOptions, log: Logger): Promise<BrokerAccess> {
  const { authentication: login, aclFile, tls } = options
  let authentication: ClientAuthentication | undefined
  let authorization: AclAuthorization | undefined
  let certificates: TlsCertificates | undefined
  if (login !== undefined) {
    const { ClientAuthentication } = await import('./client-authentication.ts')
    authentication = await ClientAuthentication.open(login, log)
  }
  if (aclFile !== undefined) {
    if (login === undefined)
      log.warn(
        { aclFile },
        'the ACL covers all clients as anonymous, because no --password-file checks their user names',
      )
    const { AclAuthorization } = await import('./acl-authorization.ts')
    authorization = await AclAuthorization.open(aclFile, client => authentication?.userOf(client), log)
  }
  if (tls !== undefined) {
    const { TlsCertificates } = await import('../listeners/tls-certificates.ts')
    certificates = await TlsCertificates.open(tls, log)
  }
  return { authentication, authorization, certificates }
}

export function reloadableFilesOf({
  authentication,
  authorization,
  certificates,
}: BrokerAccess): readonly ReloadableFiles[] {
  const named = { 'password file': authentication, 'ACL file': authorization, certificate: certificates }
  return Object.entries(named).flatMap(([name, access]) =>
    access === undefined || access.files.length === 0
      ? []
      : [{ name, files: access.files, reload: () => access.reload() }],
  )
}
