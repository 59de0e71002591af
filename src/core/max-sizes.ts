/** Every maximum of the project in one place; each has a test that reaches it. */
export const MAX_SIZES = {
  /** Keys a rule keeps in the memory store; 2^20. About 51 bytes each. */
  keysPerRule: 1_048_576,
  /** Topics whose route is remembered, the characters of each, and of all together; longer topics are not remembered. */
  routes: 65_536,
  routeChars: 1_024,
  routeCharsTotal: 8_388_608,
  /** Distinct shapes of routes (sets of patterns that match together) kept compiled. */
  routeShapes: 16_384,
  /** Kinds of sender, told apart by the exemptions that cover them, that one route keeps a ruling for. */
  rulingsPerPlan: 1_024,
  /** Limits that overrides have made of one limit, kept so that all plans share them. */
  overriddenLimits: 1_024,
  /** Topics a sender remembers its keys for, and characters of each; longer topics are not remembered. */
  topicsPerSender: 16,
  topicPerSenderChars: 1_024,
  /** Senders kept for consumers and captures, which have no connection per sender. */
  internedSenders: 65_536,
  /** Characters of the identity of such a sender, longer ones are not kept; and of all of them together. */
  internedSenderChars: 1_024,
  internedSenderCharsTotal: 8_388_608,
  /** Subjects that consumers of NATS know by their bytes, a power of two; longer ones (a number of seven bits) are not kept. */
  knownSubjects: 4_096,
  knownSubjectBytes: 124,
  /** Handlers of a subscription of NATS at work at once; messages, and bytes of them, that wait for one to be done. */
  handlersInFlight: 10_000,
  waitingForHandler: 1_000,
  waitingForHandlerBytes: 67_108_864,
  /** Copies of JetStream messages (redirects, dead letters) that wait for a stream to confirm them; further ones fail. */
  copiesUnderWay: 1_024,
  /** Bytes of one line of a capture. */
  captureLineBytes: 16_777_216,
  /** Handlers at work at once in a replay; of more, the first to end ends early. */
  handlersReplayed: 65_536,
  /** Senders counted at once to find the worst of a capture. */
  countedSenders: 1_024,
  /** Characters of one part of a key (client id, user, header, capture); longer ones are hashed. */
  keyPartChars: 256,
  /** Decisions of the SQLite store in one transaction, and waiting for one; further ones are refused. */
  sqliteBatch: 64,
  sqlitePending: 65_536,
  /** Keys a sweep of the SQLite store looks at in one transaction. */
  sqliteSweep: 512,
  /** Characters of a rule's name, a key or a prefix that stand in a key of Redis as they are; longer ones are hashed. */
  remoteKeyChars: 128,
  /** Messages, and charges of all of them, that go to Redis in one call; a message of more charges is refused. */
  callMessages: 128,
  callCharges: 1_024,
  /** Custom algorithms one Redis store runs, and numbers a state of theirs may hold there. */
  customTwins: 64,
  remoteStateNumbers: 1_024,
  /** Keys a Redis store knows to be refused. */
  denialCache: 65_536,
  /** Keys of a bucket of NATS, and units of all keys of a rule that a stream of NATS counts; further ones are refused. */
  bucketKeys: 1_048_576,
  /** Entries of one sliding log; a rule that could need more is refused when it loads. */
  logEntries: 10_000,
  /** Entries of all sliding logs of a rule; 16 bytes each. Bounds the keys of such a rule. */
  logEntriesPerRule: 16_777_216,
  /** Changes of a rule's numbers that are remembered, and rules whose changes are. */
  numbersRemembered: 16,
  ruleHistories: 200_000,
  /** Numbers the state of a custom algorithm may hold, however large it says it is. */
  stateNumbers: 20_000,
  /** Keys of all rules of which a leased store holds units, or remembers a refusal. */
  leases: 65_536,
  /** Keys looked at for one eviction. */
  evictionProbe: 32,
  /** Keys a sweep looks at in one go; keeps its pause far under 1 ms. */
  sweepSlice: 2_048,
  /** Payload bytes that are parsed for a condition or a cost; a larger payload counts as not parseable. */
  parsedPayloadBytes: 262_144,
  /** Bytes of an MQTT packet, unless `maxPacketBytes` says otherwise; and of a CONNECT. */
  packetBytes: 16_777_216,
  connectBytes: 131_072,
  /** Bytes, and filters unless `maxFiltersPerPacket` says otherwise, of a SUBSCRIBE or UNSUBSCRIBE. */
  subscribeBytes: 262_144,
  filtersPerPacket: 1_000,
  /** Characters of a client id or filter: V8 hashes longer ones by their length alone, and aedes keeps them in maps. */
  hashedChars: 16_383,
  /** Bytes written for a subscriber that does not read them. */
  unsentBytes: 262_144,
  /** Bytes of a topic, of the MQTT standard. */
  topicBytes: 65_535,
  /** Levels of a topic that are looked at; a deeper one matches no pattern but # and >. */
  topicLevels: 256,
  /** Depth of all / any / not in a condition. */
  conditionDepth: 16,
  /** Values of one header that a condition looks at, and characters of each; each is hashed to be compared. */
  headerValues: 16,
  headerValueChars: 4_096,
  /** Names of a message's headers looked at for one that differs in case only. */
  headerNames: 256,
  /** Bytes and lines of the headers of a NATS message up to which its client decodes them: that takes the square of their number. */
  natsHeaderBytes: 65_536,
  natsHeaderLines: 512,
  /** Messages held for one sender, and for all senders of a guard. */
  heldPerSender: 1_000,
  heldTotal: 100_000,
  /** Payload bytes held for one sender, and for all senders of a guard. */
  heldBytesPerSender: 4_194_304,
  heldBytesTotal: 268_435_456,
  /** Messages of QoS 1 and 2, and bytes of them, that a sender may have held though all room is in use. */
  heldWhenFull: 32,
  heldBytesWhenFull: 65_536,
  /** The longest a message is held before it is refused, in milliseconds. */
  holdMs: 300_000,
  /** Messages and bytes (of payloads and topics) one rule's queue or keep-latest holds, for all its senders together. */
  queuedPerRule: 10_000,
  queuedBytesPerRule: 67_108_864,
  /** Keys of rules that hold something back in a publisher; of more, all that waits has to wait for the first. */
  shelvesPerPublisher: 1_024,
  /** Keys of a degrading rule whose place in its sample is remembered. */
  sampledKeys: 65_536,
  /** Messages sent back whose slot is kept until they return. */
  retrySlots: 65_536,
  /** Characters of a text that tells a sender of a refusal. */
  refusalChars: 1_000,
  /** Characters of one header or user property that tells of a decision. */
  fieldChars: 1_000,
  /** Checks of one guard whose answers come later, and messages that wait for a check; further ones are asked at once. */
  checksUnderWay: 2_048,
  waitingForCheck: 65_536,
  /** Decisions a store owes at once; the fallback makes those beyond. */
  storePending: 16_384,
  /** Bytes of one policy file; a larger one is refused unread. */
  policyBytes: 8_388_608,
  /** Depth of lists and objects in a policy, and values it may repeat by YAML aliases. */
  policyDepth: 64,
  policyAliasedValues: 10_000,
  /** Problems of one policy that are listed; the rest is counted. */
  policyProblems: 100,
  /** Roles a sender can be given by the policy. */
  rolesPerSender: 16,
  /** Names of clients or topics that analytics count at once, and that they keep of each span that is over. */
  insightNames: 4_096,
  insightKeptNames: 512,
  /** Characters of a name analytics keep; longer ones are cut and end in a hash. */
  insightNameChars: 128,
  /** Refusals gathered on senders that wait to be counted by name. */
  pendingRuns: 16_384,
  /** How many of the oldest are counted at once to make room. */
  runsCountedAtOnce: 256,
  /** Rules and tiers that metrics count each; further ones are counted together. */
  metricRules: 1_024,
  metricTiers: 16,
  /** Rules whose violations are listed by user, ip and topic, and names of each list. */
  violationRules: 128,
  violationNames: 64,
  /** Records of all nodes that are read for one view of them. */
  snapshotRecords: 10_000,
  /** Alerts that wait for a webhook; the oldest goes. */
  webhookQueue: 100,
  /** Tiers of one policy. */
  tiers: 1_024,
  /** Bans, overrides, run-time exemptions and given tiers, each; characters of a reason or of who gave it. */
  sharedEntries: 65_536,
  noteChars: 500,
  /** Senders whose refusals are counted for a penalty, and refusals one may take. */
  offenders: 65_536,
  refusalsCounted: 1_000,
  /** Keys of rules that were warned of and are not again for a while. */
  warnedKeys: 65_536,
  /** Senders whose tier, found by a function, is remembered; and such questions under way. */
  tiersFound: 65_536,
  tiersSought: 1_024,
  /** Signals one adaptive() looks at, and nodes of a fleet whose load is heard. */
  loadSignals: 16,
  fleetNodes: 1_024,
  /** Senders whose behaviour is counted, and keys a circuit breaker knows; those unseen for the longest are forgotten. */
  watchedSenders: 65_536,
  breakerKeys: 16_384,
  /** The highest rate a feedback sets. */
  feedbackPerSecond: 1_000_000,
  /** Rules and exemptions of one policy, each. */
  rules: 100_000,
} as const
