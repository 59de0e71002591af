import { hashLongPart } from '../core/hash-long-part.ts'
import { HeldAmount, LargestHolders } from './largest-holders.ts'

/** Amount held by one sender. */
export class HeldMessageAccount extends HeldAmount {
  /** Refuses the sender's newest held message. Returns false if it holds none that can be refused. */
  readonly refuseNewest: () => boolean
  address: AddressAccount | undefined

  constructor(refuseNewest: () => boolean) {
    super()
    this.refuseNewest = refuseNewest
  }
}

/** Amount held by all senders of one address. */
class AddressAccount extends HeldAmount {
  readonly key: string
  readonly holders = new Set<HeldMessageAccount>()

  constructor(key: string) {
    super()
    this.key = key
  }
}

type Resource = 'messages' | 'bytes'

/** Most senders of an address that are compared to find the largest. */
const MAX_COMPARED = 16

/**
 * Chooses the sender that gives way if a guard holds its maximum: the largest sender. If that is
 * the sender of the new message, a sender of the largest address gives way.
 */
export class HoldEvictionPolicy {
  readonly #senders = {
    messages: new LargestHolders<HeldMessageAccount>('messages'),
    bytes: new LargestHolders<HeldMessageAccount>('bytes'),
  }
  readonly #addresses = {
    messages: new LargestHolders<AddressAccount>('messages'),
    bytes: new LargestHolders<AddressAccount>('bytes'),
  }
  readonly #byAddress = new Map<string, AddressAccount>()

  /** Adds to the amount a sender holds; negative numbers subtract. `ip` is its address when it starts to hold. */
  addHeld(account: HeldMessageAccount, messages: number, bytes: number, ip: string | undefined): void {
    if (account.address === undefined && messages > 0) this.#assignAddress(account, ip)
    account.messages += messages
    account.bytes += bytes
    this.#senders.messages.update(account)
    this.#senders.bytes.update(account)
    const { address } = account
    if (address === undefined) return
    address.messages += messages
    address.bytes += bytes
    this.#addresses.messages.update(address)
    this.#addresses.bytes.update(address)
    if (account.messages === 0) this.#removeFromAddress(account, address)
  }

  /** Returns the account of the sender that gives way for one more message of another, or undefined if none holds more. */
  victimFor(
    account: HeldMessageAccount,
    resource: Resource,
    amount: number,
    ip: string | undefined,
  ): HeldMessageAccount | undefined {
    const largest = this.#senders[resource].largest()
    if (largest !== undefined && largest !== account && largest[resource] > account[resource] + amount)
      return largest
    const own = account.address ?? this.#byAddress.get(hashLongPart(ip ?? ''))
    const address = this.#addresses[resource].largest()
    if (address === undefined || address === own) return undefined
    if (address[resource] <= (own?.[resource] ?? 0) + amount) return undefined
    let largestHolder: HeldMessageAccount | undefined
    let compared = 0
    for (const each of address.holders) {
      if (largestHolder === undefined || each[resource] > largestHolder[resource]) largestHolder = each
      if (++compared >= MAX_COMPARED) break
    }
    return largestHolder
  }

  #assignAddress(account: HeldMessageAccount, ip: string | undefined): void {
    const key = hashLongPart(ip ?? '')
    let address = this.#byAddress.get(key)
    if (address === undefined) {
      address = new AddressAccount(key)
      this.#byAddress.set(key, address)
    }
    address.holders.add(account)
    account.address = address
  }

  #removeFromAddress(account: HeldMessageAccount, address: AddressAccount): void {
    account.address = undefined
    address.holders.delete(account)
    if (address.holders.size === 0) this.#byAddress.delete(address.key)
  }
}
