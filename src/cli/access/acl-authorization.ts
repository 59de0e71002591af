import type { Aedes, Client } from 'aedes'
import { NotAuthorizedError } from '../../../brokers/aedes/index.ts'
import { systemClock } from '../../core/clock.ts'
import { ThrottledLog } from '../../core/throttled-log.ts'
import type { Logger } from '../../index.ts'
import { type Acl, readAclFile } from '../../mqtt-auth/acl-file.ts'
import { ClientRights } from '../../mqtt-auth/client-rights.ts'

/** Takes no stack trace per message, as clients can cause many. */
const NOT_AUTHORIZED = new NotAuthorizedError()

/** Authorizes the publishes of clients and the deliveries to them with an ACL file, which can be loaded again. */
export class AclAuthorization {
  readonly #file: string
  readonly #logger: Logger
  readonly #unsafeNames: ThrottledLog
  readonly #userOf: (client: Client) => string | undefined
  readonly #rights = new WeakMap<Client, ClientRights>()
  #acl: Acl

  private constructor(
    file: string,
    acl: Acl,
    userOf: (client: Client) => string | undefined,
    logger: Logger,
  ) {
    this.#file = file
    this.#acl = acl
    this.#userOf = userOf
    this.#logger = logger
    this.#unsafeNames = new ThrottledLog(systemClock, logger)
  }

  /** Reads the ACL file. `userOf` returns the authenticated user of a client. Rejects with PolicyError. */
  static async open(
    file: string,
    userOf: (client: Client) => string | undefined,
    logger: Logger,
  ): Promise<AclAuthorization> {
    return new AclAuthorization(file, await readAclFile(file), userOf, logger)
  }

  get files(): readonly string[] {
    return [this.#file]
  }

  /** Authorizes the messages of a broker from now on. Subscriptions are granted, because deliveries are checked. */
  attach(broker: Aedes): void {
    broker.authorizePublish = (client, packet, done) => {
      // A will that outlived its broker has no client, and so no known user.
      const isAllowed = client !== null && this.#rightsOf(client).mayWrite(packet.topic)
      done(isAllowed ? null : NOT_AUTHORIZED)
    }
    broker.authorizeForward = (client, packet) =>
      this.#rightsOf(client).mayRead(packet.topic) ? packet : null
  }

  /** Reads the ACL file again. Rejects with PolicyError if it is invalid; then the earlier one stays in force. */
  async reload(): Promise<void> {
    this.#acl = await readAclFile(this.#file)
    this.#logger.info({ users: this.#acl.users.size }, 'ACL file reloaded')
  }

  #rightsOf(client: Client): ClientRights {
    const known = this.#rights.get(client)
    if (known?.acl === this.#acl) return known
    const user = this.#userOf(client)
    const rights = new ClientRights(this.#acl, user, client.id)
    if (rights.isUnsafe) {
      const names = { client: client.id.slice(0, 128), user: user?.slice(0, 128) }
      this.#unsafeNames.log(names, 'a client has no rights: its name would widen a pattern of the ACL')
    }
    this.#rights.set(client, rights)
    return rights
  }
}
