import { MAX_SIZES } from '../../src/core/max-sizes.ts'

interface Subscription {
  readonly sid: string
  readonly subject: string
  /** Messages after which the client unsubscribes; Infinity by default. */
  maximum: number
  delivered: number
}

/**
 * Subscriptions of one connection. When the gateway answers a request itself, it looks up the subscription to the reply
 * subject here. If several have the same subject, it uses the latest.
 */
export class SubscriptionTable {
  readonly #bySid = new Map<string, Subscription>()
  readonly #bySubject = new Map<string, Subscription>()
  /** Subscriptions with a maximum. */
  #limited = 0

  /** True if deliveries must be counted. */
  get hasMaximums(): boolean {
    return this.#limited > 0
  }

  add(sid: string, subject: string): void {
    // A server ignores the second subscription with the same sid.
    if (this.#bySid.has(sid)) return
    if (this.#bySid.size >= MAX_SIZES.replySubscriptions || subject.length > MAX_SIZES.replySubjectChars)
      return
    const subscription = { sid, subject, maximum: Number.POSITIVE_INFINITY, delivered: 0 }
    this.#bySid.set(sid, subscription)
    this.#bySubject.set(subject, subscription)
  }

  /** Ends a subscription now, or after `maximum` messages in total if it is above 0. */
  unsubscribe(sid: string, maximum: number): void {
    const subscription = this.#bySid.get(sid)
    if (subscription === undefined) return
    if (maximum <= subscription.delivered) {
      this.#remove(subscription)
      return
    }
    if (subscription.maximum === Number.POSITIVE_INFINITY) this.#limited++
    subscription.maximum = maximum
  }

  /** Counts a message for a subscription. */
  countDelivery(sid: string): void {
    const subscription = this.#bySid.get(sid)
    if (subscription === undefined) return
    subscription.delivered++
    if (subscription.delivered >= subscription.maximum) this.#remove(subscription)
  }

  /**
   * Counts a message of the gateway to a reply subject. Returns its subscription; undefined if there is none. `maximum` is
   * the maximum that the server has to have now, 0 to unsubscribe, or undefined if it needs none.
   */
  answer(reply: string): { readonly sid: string; readonly maximum: number | undefined } | undefined {
    const subscription = this.#find(reply)
    if (subscription === undefined) return undefined
    if (subscription.maximum === Number.POSITIVE_INFINITY)
      return { sid: subscription.sid, maximum: undefined }
    // The server does not know of this message.
    subscription.maximum--
    const isUsedUp = subscription.delivered >= subscription.maximum
    if (isUsedUp) this.#remove(subscription)
    return { sid: subscription.sid, maximum: isUsedUp ? 0 : subscription.maximum }
  }

  #find(subject: string): Subscription | undefined {
    const literal = this.#bySubject.get(subject)
    if (literal !== undefined) return literal
    let end = subject.lastIndexOf('.')
    if (end < 0) return undefined
    const sibling = this.#bySubject.get(`${subject.slice(0, end)}.*`)
    if (sibling !== undefined) return sibling
    for (; end > 0; end = subject.lastIndexOf('.', end - 1)) {
      const ancestor = this.#bySubject.get(`${subject.slice(0, end)}.>`)
      if (ancestor !== undefined) return ancestor
    }
    return undefined
  }

  #remove(subscription: Subscription): void {
    this.#bySid.delete(subscription.sid)
    if (subscription.maximum !== Number.POSITIVE_INFINITY) this.#limited--
    if (this.#bySubject.get(subscription.subject) === subscription)
      this.#bySubject.delete(subscription.subject)
  }
}
