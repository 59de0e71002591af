import { hashLongPart } from '../core/bounded-text.ts'
import { Account, LargestHolders } from './largest-holders.ts'

/** Something whose messages are held, and that can give some of them up. */
export interface Holder {
  readonly account: HolderAccount
  /** Refuses its newest message that is held; false if none can be given up. */
  giveWay(): boolean
}

/** What one sender holds. */
export class HolderAccount extends Account {
  readonly holder: Holder
  address: AddressAccount | undefined

  constructor(holder: Holder) {
    super()
    this.holder = holder
  }
}

/** What all senders of one address hold. */
class AddressAccount extends Account {
  readonly key: string
  readonly holders = new Set<HolderAccount>()

  constructor(key: string) {
    super()
    this.key = key
  }
}

type Resource = 'messages' | 'bytes'

/** Of an address, senders that are looked at for the one that holds most. */
const LOOKED_AT = 16

/**
 * Who holds how much of a guard's room. When all of it is in use, the sender that holds most gives way; if the newcomer
 * itself is that, a sender of the address that holds most.
 */
export class HoldShares {
  readonly #senders = {
    messages: new LargestHolders<HolderAccount>('messages'),
    bytes: new LargestHolders<HolderAccount>('bytes'),
  }
  readonly #addresses = {
    messages: new LargestHolders<AddressAccount>('messages'),
    bytes: new LargestHolders<AddressAccount>('bytes'),
  }
  readonly #byAddress = new Map<string, AddressAccount>()

  /** Counts messages that a sender holds more, or fewer. `ip` is its address when it begins to hold. */
  count(account: HolderAccount, messages: number, bytes: number, ip: string | undefined): void {
    if (account.address === undefined && messages > 0) this.#enter(account, ip)
    account.messages += messages
    account.bytes += bytes
    this.#senders.messages.measure(account)
    this.#senders.bytes.measure(account)
    const { address } = account
    if (address === undefined) return
    address.messages += messages
    address.bytes += bytes
    this.#addresses.messages.measure(address)
    this.#addresses.bytes.measure(address)
    if (account.messages === 0) this.#leave(account, address)
  }

  /** The sender that gives way for one more message of another; undefined if none holds more than that one. */
  victimFor(
    account: HolderAccount,
    resource: Resource,
    amount: number,
    ip: string | undefined,
  ): Holder | undefined {
    const largest = this.#senders[resource].largest()
    if (largest !== undefined && largest !== account && largest[resource] > account[resource] + amount)
      return largest.holder
    const own = account.address ?? this.#byAddress.get(hashLongPart(ip ?? ''))
    const address = this.#addresses[resource].largest()
    if (address === undefined || address === own) return undefined
    if (address[resource] <= (own?.[resource] ?? 0) + amount) return undefined
    let most: HolderAccount | undefined
    let lookedAt = 0
    for (const each of address.holders) {
      if (most === undefined || each[resource] > most[resource]) most = each
      if (++lookedAt >= LOOKED_AT) break
    }
    return most?.holder
  }

  #enter(account: HolderAccount, ip: string | undefined): void {
    const key = hashLongPart(ip ?? '')
    let address = this.#byAddress.get(key)
    if (address === undefined) {
      address = new AddressAccount(key)
      this.#byAddress.set(key, address)
    }
    address.holders.add(account)
    account.address = address
  }

  #leave(account: HolderAccount, address: AddressAccount): void {
    account.address = undefined
    address.holders.delete(account)
    if (address.holders.size === 0) this.#byAddress.delete(address.key)
  }
}
