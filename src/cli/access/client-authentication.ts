import type { Aedes, AuthenticateError, Client } from 'aedes'
import { brokerInternals } from '../../../brokers/aedes/aedes-internals.ts'
import { addressKey } from '../../conditions/address-network.ts'
import { systemClock } from '../../core/clock.ts'
import { ThrottledLog } from '../../core/throttled-log.ts'
import type { Logger, MetricFamily, Sender } from '../../index.ts'
import { PasswordChecker } from '../../mqtt-auth/password-checker.ts'
import { type PasswordEntries, readPasswordFile } from '../../mqtt-auth/password-file.ts'
import { certifiedUserOf } from './client-certificate.ts'

export interface AuthenticationOptions {
  /** Default: no user has a password. */
  readonly passwordFile?: string | undefined
  /** True if the common name of a client's valid certificate is its user name, and no password is needed. */
  readonly usernameFromCertificate: boolean
  /** True if clients without a user name may connect. */
  readonly allowAnonymous: boolean
}

/** Return codes of a CONNACK. */
const SERVER_UNAVAILABLE = 3
const BAD_USER_OR_PASSWORD = 4
const NOT_AUTHORIZED = 5

/** Reasons of refused logins, as in metrics. */
const REASONS = ['no_user', 'wrong_password', 'busy', 'error'] as const
type RefusedReason = (typeof REASONS)[number]

/** User of a connection, and the hash of the password that it proved; undefined if a certificate proved it. */
interface AuthenticatedUser {
  readonly user: string
  readonly hash: string | undefined
}

/** Authenticates the clients of a broker with certificates and with a password file, which can be loaded again. */
export class ClientAuthentication {
  readonly #options: AuthenticationOptions
  readonly #checker: PasswordChecker
  readonly #logger: Logger
  readonly #failures: ThrottledLog
  readonly #users = new WeakMap<Client, AuthenticatedUser>()
  readonly #refused: Record<RefusedReason, number> = { no_user: 0, wrong_password: 0, busy: 0, error: 0 }
  #broker: Aedes | undefined

  private constructor(options: AuthenticationOptions, checker: PasswordChecker, logger: Logger) {
    this.#options = options
    this.#checker = checker
    this.#logger = logger
    this.#failures = new ThrottledLog(systemClock, logger)
  }

  /** Reads the password file. Rejects with PolicyError if it is invalid. */
  static async open(options: AuthenticationOptions, logger: Logger): Promise<ClientAuthentication> {
    return new ClientAuthentication(options, new PasswordChecker(await readEntries(options)), logger)
  }

  get files(): readonly string[] {
    const { passwordFile } = this.#options
    return passwordFile === undefined ? [] : [passwordFile]
  }

  /** Returns the user that a client has proved to be; undefined for an anonymous one. */
  userOf(client: Client): string | undefined {
    return this.#users.get(client)?.user
  }

  /** Returns what a certificate says about the sender of a connection, in place of the user name of its CONNECT. */
  identify(client: Client): Partial<Sender> {
    const user = this.#certifiedUserOf(client)
    return user === undefined ? {} : { user }
  }

  /** Authenticates the clients of a broker from now on. `ipOf` returns the address of a client. */
  attach(broker: Aedes, ipOf: (client: Client) => string | undefined): void {
    this.#broker = broker
    broker.authenticate = (client, username, password, done) => {
      const certified = this.#certifiedUserOf(client)
      if (certified !== undefined) {
        this.#users.set(client, { user: certified, hash: undefined })
        done(null, true)
        return
      }
      const ip = ipOf(client)
      const user = username || undefined
      const refuse = (kind: RefusedReason, reason: string, returnCode: number): void => {
        this.#refused[kind]++
        const attempt = { client: client.id.slice(0, 128), user: user?.slice(0, 128), ip, reason }
        this.#failures.log(attempt, 'a client was not authenticated')
        done(connackError(reason, returnCode), false)
      }
      if (user === undefined) {
        if (this.#options.allowAnonymous) done(null, true)
        else refuse('no_user', 'user name required', NOT_AUTHORIZED)
        return
      }
      const attempt = {
        user,
        password: Buffer.from(password ?? ''),
        // By network, as `per: ip` counts: an IPv6 customer has many addresses.
        address: ip === undefined ? '' : addressKey(ip),
        isCancelled: () => client.closed,
      }
      this.#checker.check(attempt).then(
        result => {
          if (result !== 'correct') {
            if (result === 'busy') refuse('busy', 'too many passwords to check', SERVER_UNAVAILABLE)
            else refuse('wrong_password', 'wrong password', BAD_USER_OR_PASSWORD)
            return
          }
          this.#users.set(client, { user, hash: this.#checker.hashOf(user) })
          done(null, true)
        },
        (err: unknown) => {
          this.#refused.error++
          this.#logger.error({ err }, 'a password could not be checked')
          done(connackError('password not checked', SERVER_UNAVAILABLE), false)
        },
      )
    }
  }

  /**
   * Reads the password file again and disconnects clients whose user was removed or has another password. Rejects with
   * PolicyError if the file is invalid; then the earlier one stays in force.
   */
  async reload(): Promise<void> {
    const entries = await readEntries(this.#options)
    this.#checker.replace(entries)
    let disconnected = 0
    const clients = this.#broker && brokerInternals(this.#broker).clients
    for (const client of Object.values(clients ?? {})) {
      const authenticated = this.#users.get(client)
      if (authenticated?.hash === undefined || entries.get(authenticated.user)?.text === authenticated.hash)
        continue
      client.close()
      disconnected++
    }
    this.#logger.info({ users: entries.size, disconnected }, 'password file reloaded')
  }

  collectMetrics(): readonly MetricFamily[] {
    return [
      {
        name: 'topicgate_logins_refused_total',
        help: 'Clients that were not authenticated, by reason.',
        type: 'counter',
        samples: REASONS.map(reason => ({ labels: { reason }, value: this.#refused[reason] })),
      },
    ]
  }

  #certifiedUserOf(client: Client): string | undefined {
    return this.#options.usernameFromCertificate ? certifiedUserOf(client) : undefined
  }
}

async function readEntries({ passwordFile }: AuthenticationOptions): Promise<PasswordEntries> {
  return passwordFile === undefined ? new Map() : readPasswordFile(passwordFile)
}

function connackError(reason: string, returnCode: number): AuthenticateError {
  return Object.assign(new Error(reason), { returnCode })
}
