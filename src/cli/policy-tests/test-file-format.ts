import * as z from 'zod'
import { OUTCOMES } from '../../core/decision.ts'
import { PolicyError } from '../../core/errors.ts'
import { MESSAGE_OPERATIONS } from '../../core/message.ts'
import { convertToJsonSchema, encodeSchemaError, type FileFormat } from '../../policy/index.ts'
import { parseCountComparison, parseDurationComparison } from '../documents/comparison.ts'
import {
  duration,
  moment,
  parsedSchema,
  qos,
  shareComparison,
  size,
  text,
  texts,
  yesOrNo,
} from '../documents/document-schemas.ts'

/** Maximum messages of one `send`, and results of one `handled`. */
const MAX_TIMES = 1_000_000

/** Written as the exemption of messages that none let pass. */
export const NO_EXEMPTION = 'none'

const count = parsedSchema('a count', 'write a whole number, or "<= 10"', parseCountComparison)
const TIMES = encodeSchemaError(`a whole number from 1 to ${MAX_TIMES}`, 'write times: 25')
const times = z.int({ error: TIMES }).min(1, { error: TIMES }).max(MAX_TIMES, { error: TIMES }).optional()

const load = parsedSchema('a load', 'write it as 80%', written => {
  const percent = Number(/^(\d+(?:\.\d+)?)\s*%$/.exec(String(written))?.[1])
  if (!(percent <= 100)) throw new PolicyError([])
  return percent / 100
})

// The gate checks the words of entries.
const entries = z
  .array(
    z.record(z.string(), z.unknown(), { error: encodeSchemaError('an object', 'write { client: c1 }') }),
    {
      error: encodeSchemaError('a list', 'write a list, as [{ client: c1 }]'),
    },
  )
  .optional()

const send = z.strictObject(
  {
    topic: text.optional(),
    on: z.enum(MESSAGE_OPERATIONS, { error: encodeSchemaError('an action') }).optional(),
    client: text.optional(),
    user: text.optional(),
    device: text.optional(),
    apiKey: text.optional(),
    ip: text.optional(),
    roles: texts.optional(),
    tier: text.optional(),
    headers: z
      .record(z.string(), z.union([text, texts]), {
        error: encodeSchemaError('an object of texts', 'write { priority: high }'),
      })
      .optional(),
    payload: z.unknown().optional(),
    size: size.optional(),
    qos: qos.optional(),
    retain: yesOrNo.optional(),
    will: yesOrNo.optional(),
    times,
    every: duration.optional(),
  },
  { error: encodeSchemaError('a message', 'write { topic: a/b, client: c1, times: 25 }') },
)

const sendExpectation = z.strictObject(
  {
    allowed: count.optional(),
    refused: count.optional(),
    by: text.optional(),
    exemption: text.optional(),
    outcome: z.enum(OUTCOMES, { error: encodeSchemaError('an outcome') }).optional(),
    reason: text.optional(),
    retryAfter: parsedSchema(
      'a duration',
      'write it as 80ms, "<= 100ms" or never',
      parseDurationComparison,
    ).optional(),
    shadow: z
      .record(z.string(), count, { error: encodeSchemaError('an object', 'write { trial: 3 }') })
      .optional(),
  },
  { error: encodeSchemaError('an object of expectations', 'write { allowed: 20, refused: 5 }') },
)

const step = z.strictObject(
  {
    send: send.optional(),
    expect: sendExpectation.optional(),
    wait: duration.optional(),
    handled: z
      .strictObject(
        { ok: yesOrNo.optional(), took: duration.optional(), times },
        { error: encodeSchemaError('the result of a handler', 'write { ok: false, took: 300ms }') },
      )
      .optional(),
  },
  { error: encodeSchemaError('a step', 'write send, wait or handled') },
)

const totalsExpectation = z.strictObject(
  {
    messages: count.optional(),
    allowed: count.optional(),
    refused: count.optional(),
    refusedShare: shareComparison.optional(),
    rules: z
      .record(z.string(), z.strictObject({ refused: count.optional(), shadow: count.optional() }), {
        error: encodeSchemaError('an object of rules', 'write { daily: { refused: 0 } }'),
      })
      .optional(),
    exemptions: z
      .record(z.string(), count, { error: encodeSchemaError('an object', 'write { alarms: 3 }') })
      .optional(),
    senders: z
      .record(z.string(), z.strictObject({ allowed: count.optional(), refused: count.optional() }), {
        error: encodeSchemaError('an object of senders', 'write { "client:d7": { refused: 0 } }'),
      })
      .optional(),
  },
  { error: encodeSchemaError('an object of expectations', 'write { refusedShare: "< 0.1%" }') },
)

const test = z.strictObject(
  {
    name: text.min(1, { error: encodeSchemaError('a name', 'write what the policy does') }),
    start: moment.optional(),
    given: z
      .strictObject(
        { load: load.optional(), bans: entries, overrides: entries, exemptions: entries, tiers: entries },
        { error: encodeSchemaError('an object', 'write { load: 80% }') },
      )
      .optional(),
    steps: z
      .array(step, { error: encodeSchemaError('a list of steps', 'begin each with a dash') })
      .optional(),
    replay: text.min(1, { error: encodeSchemaError('a capture', 'write the name of a file') }).optional(),
    expect: totalsExpectation.optional(),
  },
  { error: encodeSchemaError('a test', 'write an object, with a name and steps or replay') },
)

const schema = z
  .strictObject(
    {
      $schema: z.string().optional(),
      description: text.optional(),
      policy: z.union([text.min(1), z.array(text.min(1)).min(1)], {
        error: encodeSchemaError('a policy file', 'write policy: policy.yaml, or a list of overlays'),
      }),
      tests: z
        .array(test, { error: encodeSchemaError('a list of tests', 'begin each with a dash') })
        .min(1, { error: encodeSchemaError('a list of tests', 'write at least one') }),
    },
    { error: encodeSchemaError('a test file', 'write an object, with policy and tests') },
  )
  .meta({ title: 'topicgate policy tests', description: 'Tests of a policy, run by topicgate test.' })

export type TestDocument = z.output<typeof schema>
export type PolicyTest = z.output<typeof test>
export type TestStep = z.output<typeof step>
export type SendExpectation = z.output<typeof sendExpectation>
export type TotalsExpectation = z.output<typeof totalsExpectation>
export type SentMessage = z.output<typeof send>

/** Words that authors of other tests expect. */
const OTHER_WORDS: Readonly<Record<string, string>> = {
  publish: 'use `send`',
  message: 'use `send`',
  count: 'use `times`',
  repeat: 'use `times`',
  interval: 'use `every`',
  denied: 'use `refused`',
  rule: 'use `by`',
  sleep: 'use `wait`',
  after: 'use `wait`',
  capture: 'use `replay`',
  rules: 'a test file names the policy: use `policy`',
}

/** Returns the JSON Schema of files of policy tests (draft 2020-12), for editors. */
export function testFileJsonSchema(): Readonly<Record<string, unknown>> {
  return convertToJsonSchema(schema, 'urn:topicgate:policy-test:1')
}

/** Format of files of policy tests. */
export const TEST_FILE_FORMAT: FileFormat<TestDocument> = {
  schema,
  noun: 'test file',
  schemaName: 'the words of a test file in docs/rollout.md',
  jsonSchema: testFileJsonSchema,
  hintForKey: key => (Object.hasOwn(OTHER_WORDS, key) ? OTHER_WORDS[key] : undefined),
}
