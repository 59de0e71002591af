/** Client as a persistence sees it. */
export interface PersistenceClient {
  readonly id: string
  /** Broker that stored the will; absent for the running one. */
  readonly brokerId?: string | undefined
}

export interface StoredPacket {
  readonly topic: string
  readonly payload: Buffer
  /** Publisher of a retained message. */
  readonly clientId?: string | undefined
}

export interface StoredSubscription {
  readonly clientId: string
  readonly qos?: 0 | 1 | 2 | undefined
}

export interface StoredWill {
  readonly clientId: string
  readonly brokerId: string
}

/** Members of aedes' persistence packages that are used here; they have no types. */
export interface AedesPersistence {
  storeRetained(packet: StoredPacket): Promise<void>
  createRetainedStream(pattern: string): AsyncIterable<StoredPacket>
  addSubscriptions(client: PersistenceClient, subscriptions: readonly object[]): Promise<void>
  removeSubscriptions(client: PersistenceClient, filters: readonly string[]): Promise<void>
  cleanSubscriptions(client: PersistenceClient): Promise<void>
  subscriptionsByClient(client: PersistenceClient): Promise<readonly object[]>
  outgoingEnqueue(subscription: StoredSubscription, packet: StoredPacket): Promise<void>
  outgoingEnqueueCombi(subscriptions: readonly StoredSubscription[], packet: StoredPacket): Promise<void>
  outgoingStream(client: PersistenceClient): AsyncIterable<object>
  /** Returns the removed packet; undefined if there is none. */
  outgoingClearMessageId(client: PersistenceClient, packet: object): Promise<object | undefined>
  delWill(client: PersistenceClient): Promise<unknown>
  streamWill(brokers: object): AsyncIterable<StoredWill>
}

/** Session that a persistence holds from an earlier run. */
export interface StoredSession {
  readonly clientId: string
  readonly queuedMessages: number
  readonly queuedBytes: number
}

/** A persistence that survives the process. */
export interface DurablePersistence {
  readonly persistence: AedesPersistence
  /** Returns the sessions of earlier runs. */
  readSessions(): AsyncIterable<StoredSession>
  close(): Promise<void>
}
