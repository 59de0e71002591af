/** All maximum sizes of the project. Each has a test that reaches it. */
export const MAX_SIZES = {
  /** Keys per rule in the memory store; 2^20. About 51 bytes each. */
  keysPerRule: 1_048_576,
  /** Topics with a cached route, characters of each, and of all together. Longer topics are not cached. */
  routes: 65_536,
  routeChars: 1_024,
  routeCharsTotal: 8_388_608,
  /** Cached combinations of patterns that match a topic together. */
  routeShapes: 16_384,
  /** Cached sender plans of a route, by the exemptions that cover the sender. */
  senderPlansPerRoute: 1_024,
  /** Cached limits that overrides have derived from one limit. */
  overriddenLimits: 1_024,
  /** Topics per sender with cached keys, and characters of each. Longer topics are not cached. */
  topicsPerSender: 16,
  cachedTopicChars: 256,
  /** Senders of a gate remembered by their parts, characters of the parts of one, and of all together. */
  senderStates: 32_768,
  senderStateChars: 1_024,
  senderStateCharsTotal: 1_048_576,
  /** Cached senders of consumers and captures, which have no connection per sender. */
  cachedSenders: 65_536,
  /** Characters of the key of such a sender, and of all keys together. Longer keys are hashed. */
  cachedSenderKeyChars: 1_024,
  cachedSenderChars: 8_388_608,
  /**
   * NATS subjects cached by their bytes, a power of two, and bytes of each (a seven-bit number). Longer ones
   * are not cached.
   */
  cachedSubjects: 4_096,
  cachedSubjectBytes: 124,
  /** Concurrent handlers of a NATS subscription, and messages and bytes that wait for one to finish. */
  handlersInFlight: 10_000,
  waitingForHandler: 1_000,
  waitingForHandlerBytes: 67_108_864,
  /** Copies of JetStream messages (redirects, dead letters) waiting for a stream to confirm them. Further ones fail. */
  pendingCopies: 1_024,
  /** Bytes of one line of a capture. */
  captureLineBytes: 16_777_216,
  /** Lines of a capture whose messages are cached, of 2 kB at most, and bytes of these lines. */
  cachedCaptureLines: 131_072,
  cachedCaptureLineBytes: 33_554_432,
  /** Concurrent handlers of a replay. Beyond it, the one that ends first ends early. */
  replayHandlers: 65_536,
  /** Senders and other keys that a suggestion measures, of all its rules, 1 kB each. Beyond it, half of them are left out. */
  suggestedKeys: 100_000,
  /** Topics that a suggestion remembers at the same time. */
  suggestedTopics: 200_000,
  /** Senders counted at the same time to find the most limited ones of a capture. */
  countedSenders: 1_024,
  /** Keys whose last payload `unchanged` rules of a gate remember: one for each topic and one for each sender on it. */
  lastPayloads: 131_072,
  /** Characters of one part of a key (client id, user, header, capture). Longer ones are hashed. */
  keyPartChars: 256,
  /** Decisions per transaction of the SQLite store, and decisions waiting for one. Further ones are refused. */
  sqliteBatch: 64,
  sqlitePending: 65_536,
  /** Keys per transaction of a sweep of the SQLite store. */
  sqliteSweep: 512,
  /** Refused senders whose refusals a worker reports to its primary at once. */
  reportedSenders: 1_000,
  /** Limits that the store of a primary process remembers by their numbers. */
  ipcLimits: 8_192,
  /** Characters of a rule name, key or prefix in a Redis key. Longer ones are hashed. */
  redisKeyPartChars: 128,
  /** Messages, and their charges, in one Redis call. A message with more charges is refused. */
  redisCallMessages: 128,
  redisCallCharges: 1_024,
  /** Custom algorithms of one Redis store, and numbers in a state of them. */
  redisCustomAlgorithms: 64,
  redisStateNumbers: 1_024,
  /** Cached refusals of a Redis store, by key. */
  cachedDenials: 65_536,
  /** Keys of a NATS bucket, and units of all keys of a rule counted by a NATS stream. Further ones are refused. */
  natsBucketKeys: 1_048_576,
  /** Entries of one sliding log. A rule that may need more is refused when it loads. */
  logEntries: 10_000,
  /** Entries of all sliding logs of a rule; 16 bytes each. Bounds the keys of such a rule. */
  logEntriesPerRule: 16_777_216,
  /** Recorded changes of a rule's numbers, and rules with recorded changes. */
  limitChangesPerRule: 16,
  ruleHistories: 200_000,
  /** Numbers in the state of a custom algorithm, even if it declares a larger state. */
  stateNumbers: 20_000,
  /** Keys of all rules for which a leased store holds units or a cached refusal. */
  leases: 65_536,
  /** Keys examined for one eviction. */
  evictionProbe: 32,
  /** Keys examined by one slice of a sweep; keeps its pause far below 1 ms. */
  sweepSlice: 2_048,
  /** Payload bytes read for a condition or cost. A larger payload counts as not JSON. */
  parsedPayloadBytes: 262_144,
  /** Bytes of an MQTT packet, unless `maxPacketBytes` is set, and of a CONNECT. */
  packetBytes: 16_777_216,
  connectBytes: 131_072,
  /** Bytes of a SUBSCRIBE or UNSUBSCRIBE, and its filters unless `maxFiltersPerPacket` is set. */
  subscribeBytes: 262_144,
  filtersPerPacket: 1_000,
  /**
   * Characters of a client id or filter. Why: V8 hashes longer ones by their length alone, and aedes keeps
   * them in maps.
   */
  hashedChars: 16_383,
  /** Bytes written for a subscriber that does not read them. */
  unsentBytes: 262_144,
  /** Bytes of a topic, as in the MQTT standard. */
  topicBytes: 65_535,
  /** Levels of a topic that patterns are matched against. Deeper topics match only # and >. */
  topicLevels: 256,
  /** Nesting depth of all / any / not in a condition. */
  conditionDepth: 16,
  /** Values of one header that a condition compares, and characters of each. */
  headerValues: 16,
  headerValueChars: 4_096,
  /** Header names of a message compared without regard to case. */
  headerNames: 256,
  /** Bytes and lines of NATS message headers that are read. Why: decoding by the client takes quadratic time. */
  natsHeaderBytes: 65_536,
  natsHeaderLines: 512,
  /**
   * Bytes of a NATS payload, as in nats-server, and of the lines of clients and servers. The line of a server may list
   * the addresses of a cluster.
   */
  natsPayloadBytes: 67_108_864,
  natsClientLineBytes: 65_536,
  natsServerLineBytes: 1_048_576,
  /** Subscriptions of one NATS connection by which a gateway finds reply subjects, and characters of the subject of each. */
  replySubscriptions: 65_536,
  replySubjectChars: 256,
  /** Messages held for one sender, and for all senders of a guard. */
  heldPerSender: 1_000,
  heldTotal: 100_000,
  /** Payload bytes held for one sender, and for all senders of a guard. */
  heldBytesPerSender: 4_194_304,
  heldBytesTotal: 268_435_456,
  /** Messages of QoS 1 and 2, and their bytes, that a sender may have held although the budget is used up. */
  heldWhenFull: 32,
  heldBytesWhenFull: 65_536,
  /** Longest hold of a message before it is refused, in milliseconds. */
  holdMs: 300_000,
  /** Messages and bytes (payloads and topics) in the queue or keep-latest of one rule, for all its senders. */
  queuedPerRule: 10_000,
  queuedBytesPerRule: 67_108_864,
  /** Keys with held messages in a publisher. Beyond it, all waiting messages share the wait of the first. */
  partitionsPerPublisher: 1_024,
  /** Keys of a degrading rule with a cached position in its sample. */
  sampledKeys: 65_536,
  /** Refused messages with a reserved redelivery slot. */
  redeliverySlots: 65_536,
  /** Characters of a refusal text sent to a client. */
  refusalChars: 1_000,
  /** Characters of one header or user property that describes a decision. */
  fieldChars: 1_000,
  /** Asynchronous checks of one guard, and messages waiting for a check. Further ones are checked at once. */
  concurrentChecks: 2_048,
  queuedChecks: 65_536,
  /** Pending decisions of a store. The fallback decides further ones. */
  pendingStoreDecisions: 16_384,
  /** Bytes of one policy file. A larger one is refused unread. */
  policyBytes: 8_388_608,
  /** Nesting depth of a policy, and values repeated by YAML aliases. */
  policyDepth: 64,
  policyAliasedValues: 10_000,
  /** Listed problems of one policy. Further ones are counted. */
  policyProblems: 100,
  /** Addresses whose parsed form is cached. */
  parsedAddresses: 4_096,
  /** Time zones with a cached date format, and characters of their names. */
  zoneFormats: 1_000,
  zoneNameChars: 64,
  /** Roles that the policy can give a sender. */
  rolesPerSender: 16,
  /** Names of clients or topics that analytics count at the same time, and names kept of each past interval. */
  analyticsNames: 4_096,
  analyticsNamesPerInterval: 512,
  /** Characters of a name in analytics. Longer ones are cut and end in a hash. */
  analyticsNameChars: 128,
  /** Refusals collected on sender states before they are counted by name. */
  pendingRefusalSeries: 16_384,
  /** Oldest refusals counted together to make room. */
  refusalSeriesPerBatch: 256,
  /** Rules and tiers with metrics of their own. Further ones are counted together. */
  metricRules: 1_024,
  metricTiers: 16,
  /** Rules with violations listed by client, user, ip and topic, and names in each list. */
  violationRules: 128,
  violationNames: 64,
  /** Records of all nodes read for one view of them. */
  snapshotRecords: 10_000,
  /** Alerts waiting for a webhook. Beyond it, the oldest is dropped. */
  webhookQueue: 100,
  /** Tiers of one policy. */
  tiers: 1_024,
  /** Bans, overrides, runtime exemptions and assigned tiers, each; characters of a reason or author. */
  sharedEntries: 65_536,
  reasonChars: 500,
  /** Senders with refusals counted for a penalty, and refusals counted for each. */
  offenders: 65_536,
  refusalsPerOffender: 1_000,
  /** Keys of rules with a recent usage warning. */
  warnedKeys: 65_536,
  /** Senders with a cached tier lookup, and concurrent lookups. */
  cachedTiers: 65_536,
  pendingTierLookups: 1_024,
  /** Signals of one adaptive(), and nodes whose load is read. */
  loadSignals: 16,
  clusterNodes: 1_024,
  /** Senders with counted behaviour, and keys of a circuit breaker. The least recent ones are forgotten. */
  trackedSenders: 65_536,
  breakerKeys: 16_384,
  /** Highest rate of a feedback. */
  feedbackPerSecond: 1_000_000,
  /** Rules and exemptions of one policy, each. */
  rules: 100_000,
  /** Characters of a runtime entry as JSON. */
  runtimeEntryChars: 65_536,
  /**
   * Records of the audit log kept in memory, characters of the state before and after a change there, and bytes of the
   * file that are read at the start. The file holds every state completely.
   */
  auditRecords: 1_000,
  auditStateChars: 8_192,
  auditReadBytes: 8_388_608,
  /** Senders with remembered refusals, refusals of each, and characters of the topic of each. */
  refusedSenders: 2_048,
  refusalsPerSender: 20,
  refusedTopicChars: 256,
  /** Addresses whose wrong tokens the admin server counts. */
  adminFailedAddresses: 4_096,
  /** Sockets of the admin server, and of one address. The one that is idle for longest gives way. */
  adminSockets: 128,
  adminSocketsPerAddress: 64,
  /** Bytes of a request body of the admin API. */
  adminBodyBytes: 1_048_576,
  /** Senders of one list of the admin API. */
  adminListedSenders: 100,
  /** Event streams of the admin API, events kept for those that resume, and events waiting for a slow one. */
  adminStreams: 32,
  adminEvents: 1_000,
  adminQueuedEvents: 1_024,
  /** Keys of a rule read by one scan. */
  scannedKeys: 65_536,
  /** Messages of one capture of the admin API, and lines waiting for its reader. */
  capturedMessages: 1_000_000,
  capturedLines: 16_384,
  capturedChars: 16_777_216,
  /** Messages of a batch to decide. */
  adminBatch: 1_000,
  /** Earlier versions of the overlay of the admin API. */
  overlayVersions: 50,
  /** Remembered answers to requests with an Idempotency-Key, and the characters of one. */
  adminIdempotentAnswers: 1_024,
  adminIdempotentAnswerChars: 16_384,
  /** Topics that the card of a sender looks at. */
  cardTopics: 64,
  /** Bytes of a password of an MQTT client. A longer one is wrong. */
  passwordBytes: 1_024,
  /** Passwords hashed at the same time: half of the threads of libuv. Clients that wait for it, per address and in total. */
  concurrentPasswordHashes: 2,
  waitingPasswordsPerAddress: 1_000,
  waitingPasswords: 10_000,
  /** Clients of a gateway that wait for their connection to one broker. Further ones are refused. */
  waitingUpstreamConnects: 65_536,
  /** TLS handshakes of one address at the same time. Further sockets are closed. */
  tlsHandshakesPerAddress: 250,
  /** Wrong passwords that are refused without a hash when they are sent again. */
  rememberedWrongPasswords: 1_024,
} as const
