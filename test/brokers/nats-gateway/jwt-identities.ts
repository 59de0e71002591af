import { nkeys } from '@nats-io/transport-node'

type KeyPair = ReturnType<typeof nkeys.createUser>

const NO_LIMITS = { subs: -1, data: -1, payload: -1 }

/** A user with a JWT. */
export interface JwtUser {
  readonly jwt: string
  readonly publicKey: string
  readonly seed: Uint8Array
}

/** An operator and an account of it, which issue JWTs for users. */
export class JwtIssuer {
  readonly #operator = nkeys.createOperator()
  readonly #account = nkeys.createAccount()

  /** Configuration of a server in operator mode that knows the account. */
  get serverConfig(): string {
    const limits = { ...NO_LIMITS, imports: -1, exports: -1, wildcards: true, conn: -1, leaf: -1 }
    const operator = encodeJwt(this.#operator, this.#operator, { type: 'operator' })
    const account = encodeJwt(this.#operator, this.#account, { type: 'account', limits })
    return `operator: ${operator}\nresolver: MEMORY\nresolver_preload: { ${this.#account.getPublicKey()}: ${account} }`
  }

  /** Returns a new user. `claims` are additional claims, such as permissions. */
  issueUser(name: string, claims: object = {}): JwtUser {
    const user = nkeys.createUser()
    const jwt = encodeJwt(this.#account, user, { type: 'user', ...NO_LIMITS, ...claims }, name)
    return { jwt, publicKey: user.getPublicKey(), seed: user.getSeed() }
  }
}

/** Returns a JWT about `subject`, signed by `issuer`. */
function encodeJwt(issuer: KeyPair, subject: KeyPair, claims: object, name?: string): string {
  const body = {
    jti: subject.getPublicKey(),
    iat: Math.floor(Date.now() / 1_000),
    iss: issuer.getPublicKey(),
    sub: subject.getPublicKey(),
    name,
    nats: { ...claims, version: 2 },
  }
  const signed = `${encodePart({ typ: 'JWT', alg: 'ed25519-nkey' })}.${encodePart(body)}`
  return `${signed}.${Buffer.from(issuer.sign(Buffer.from(signed))).toString('base64url')}`
}

function encodePart(part: object): string {
  return Buffer.from(JSON.stringify(part)).toString('base64url')
}
