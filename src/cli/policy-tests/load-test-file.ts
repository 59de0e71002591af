import { stat } from 'node:fs/promises'
import { dirname, isAbsolute, join } from 'node:path'
import { parseSenderId } from '../../admin/sender-id.ts'
import { PolicyError, type Position, type Problem } from '../../core/errors.ts'
import { nearest } from '../../core/option-names.ts'
import { Gate, MemoryStore } from '../../index.ts'
import { type LoadedDocument, type LoadedPolicy, loadDocument, loadPolicy } from '../../policy/index.ts'
import { listCaptureFiles } from '../capture/capture-file-names.ts'
import { POLICY_NAMES, resolvePolicyFiles } from '../policy/resolve-policy-files.ts'
import type { Terminal } from '../terminal/terminal.ts'
import { NO_EXEMPTION, type PolicyTest, TEST_FILE_FORMAT, type TestDocument } from './test-file-format.ts'

/** Start of tests that name none. */
export const DEFAULT_START_MS = Date.UTC(2026, 0, 1)

const MAX_MOMENT_MS = Date.UTC(10_000, 0, 1) - 1

/** A file of tests whose form is valid. */
export interface TestFileDocument {
  readonly file: string
  readonly document: LoadedDocument<TestDocument>
  /** Files of the policy in order, or names of ready policies. */
  readonly policyPaths: readonly string[]
  /** Files of captures that tests replay. */
  readonly captures: readonly string[]
  /** Resolves the name of a file beside the test file. */
  resolve(name: string): string
}

/** A file of tests and its policy, both valid. */
export interface PolicyTestFile {
  readonly file: string
  readonly tests: readonly PolicyTest[]
  readonly policy: LoadedPolicy
  /** Names of the rules in force that a gate decides by, in order; those of all tiers behind, `feedback` and `breaker` last. */
  readonly rules: readonly string[]
  /** Names of the exemptions in force; unnamed ones as `exempt[2]`. */
  readonly exemptions: readonly string[]
  /** Returns the position of a value in the file. */
  locate(path: string, at?: 'key' | 'value'): Position
  /** Resolves the name of a file beside the test file. */
  resolve(name: string): string
}

/** Reads a file of tests. Rejects with PolicyError that lists all problems of its form. */
export async function readTestFile(file: string, env: Terminal['env']): Promise<TestFileDocument> {
  const document = await loadDocument(file, TEST_FILE_FORMAT, env)
  const { tests, policy: named } = document.value
  const resolve = (name: string): string => (isAbsolute(name) ? name : join(dirname(file), name))
  const names = typeof named === 'string' ? [named] : named
  const policyPaths = names.map(name => (POLICY_NAMES.includes(name) ? name : resolve(name)))
  const captures = tests.flatMap(({ replay }) => (replay === undefined ? [] : [resolve(replay)]))
  return { file, document, policyPaths, captures, resolve }
}

/**
 * Loads the policy that a file of tests names. Rejects with PolicyError that lists all problems of the policy, or of the
 * tests with it. Problems of a file that is missing have the place that names it.
 */
export async function loadTestFile(
  testFile: TestFileDocument,
  env: Terminal['env'],
): Promise<PolicyTestFile> {
  const { file, document, resolve } = testFile
  const { tests } = document.value
  const policy = await loadPolicy(await resolveNamedPolicies(testFile, env), { env })
  const rules = await findRules(policy, env)
  const exemptions = (policy.document.exempt ?? []).flatMap(({ name, enabled }, index) =>
    enabled === false ? [] : [name ?? `exempt[${index}]`],
  )
  const problems = tests.flatMap((test, index) =>
    findTestProblems(test, `tests[${index}]`, { rules, exemptions }),
  )
  problems.push(...findRepeatedNames(document))
  const located = problems.map(problem => ({ ...document.locate(problem.path ?? '', 'key'), ...problem }))
  located.push(...(await findMissingCaptures(testFile)))
  if (located.length > 0) throw new PolicyError(located)
  return { file, tests, policy, rules, exemptions, locate: document.locate, resolve }
}

/** Returns the files of the policy and its overlays. A problem of one has the place where the tests name it. */
async function resolveNamedPolicies(
  { document, policyPaths }: TestFileDocument,
  env: Terminal['env'],
): Promise<readonly string[]> {
  try {
    return await resolvePolicyFiles(policyPaths, env)
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error
    const isList = Array.isArray(document.value.policy)
    const problems = error.problems.map(({ file = '', message, remedy }) => {
      const path = isList ? `policy[${policyPaths.indexOf(file)}]` : 'policy'
      return { ...document.locate(path), message: `${file}: ${message}`, remedy }
    })
    throw new PolicyError(problems, { cause: error })
  }
}

async function findMissingCaptures({ document, resolve }: TestFileDocument): Promise<readonly Problem[]> {
  const problems: Problem[] = []
  for (const [index, { replay }] of document.value.tests.entries()) {
    if (replay === undefined) continue
    const [file = ''] = listCaptureFiles(resolve(replay))
    const found = await stat(file).catch(() => undefined)
    if (found !== undefined && !found.isDirectory()) continue
    const message = `${file}: ${found ? 'this is a folder' : 'there is no such file'}`
    const remedy = 'name a capture, relative to this file'
    problems.push({ ...document.locate(`tests[${index}].replay`), message, remedy })
  }
  return problems
}

async function findRules({ document }: LoadedPolicy, env: Terminal['env']): Promise<readonly string[]> {
  const gate = await Gate.fromPolicy(document, { store: new MemoryStore(), load: 'none', env })
  const disabled = new Set(
    (document.rules ?? []).flatMap(({ name, enabled }) => (enabled === false ? name : [])),
  )
  // Decisions of `feedback` and `breaker` name these words as their rule.
  const rules = [...gate.rules().filter(name => !disabled.has(name)), ...gate.handlerMonitor.names]
  await gate.close()
  return rules
}

interface KnownNames {
  readonly rules: readonly string[]
  readonly exemptions: readonly string[]
}

function findRepeatedNames({ value: { tests } }: LoadedDocument<TestDocument>): readonly Problem[] {
  return tests.flatMap(({ name }, index) =>
    tests.findIndex(each => each.name === name) < index
      ? [
          {
            path: `tests[${index}].name`,
            message: `the name ${JSON.stringify(name)} is used twice`,
            remedy: 'give each test its own name',
          },
        ]
      : [],
  )
}

/** Returns the problems that a schema cannot find. */
function findTestProblems(test: PolicyTest, path: string, known: KnownNames): readonly Problem[] {
  const { steps, replay, expect } = test
  if ((steps === undefined) === (replay === undefined)) {
    const message = steps === undefined ? 'the test has no steps' : 'the test has both steps and replay'
    return [{ path, message, remedy: 'write steps, or replay with the name of a capture' }]
  }
  const problems: Problem[] = []
  if (!hasExpectation(expect) && !(steps ?? []).some(step => hasExpectation(step.expect))) {
    problems.push({ path, message: 'the test expects nothing', remedy: 'add expect: { refused: 0 }' })
  }
  let hasSent = false
  for (const [index, step] of (steps ?? []).entries()) {
    const at = `${path}.steps[${index}]`
    const words = (['send', 'wait', 'handled'] as const).filter(word => step[word] !== undefined)
    if (words.length !== 1) {
      const message = words.length === 0 ? 'the step does nothing' : `the step has ${words.join(' and ')}`
      problems.push({ path: at, message, remedy: 'write one of send, wait and handled' })
    }
    if (step.expect !== undefined && step.send === undefined) {
      problems.push({
        path: `${at}.expect`,
        message: 'there is nothing to expect',
        remedy: 'move it to a send',
      })
    }
    if (step.send !== undefined && step.send.topic === undefined && !isWithoutTopic(step.send.on)) {
      problems.push({ path: `${at}.send`, message: '`topic` is missing', remedy: 'write topic: a/b' })
    }
    if (step.handled !== undefined && !hasSent) {
      problems.push({ path: at, message: 'no message was sent before it', remedy: 'put a send before it' })
    }
    if (step.send !== undefined) hasSent = true
    const { by, exemption, shadow = {} } = step.expect ?? {}
    const named = [...(by === undefined ? [] : [['by', by] as const]), ...keysIn('shadow', shadow)]
    for (const [word, name] of named)
      problems.push(...unknownName(`${at}.expect.${word}`, name, 'rule', known.rules))
    if (exemption !== undefined && exemption !== NO_EXEMPTION)
      problems.push(...unknownName(`${at}.expect.exemption`, exemption, 'exemption', known.exemptions))
  }
  problems.push(...findTimeAfterYear9999(test, path))
  for (const [word, name] of keysIn('rules', expect?.rules ?? {}))
    problems.push(...unknownName(`${path}.expect.${word}`, name, 'rule', known.rules))
  for (const [word, name] of keysIn('exemptions', expect?.exemptions ?? {}))
    problems.push(...unknownName(`${path}.expect.${word}`, name, 'exemption', known.exemptions))
  for (const [word, name] of keysIn('senders', expect?.senders ?? {})) {
    if (parseSenderId(name) !== undefined) continue
    const message = `${JSON.stringify(name)} is not a sender`
    problems.push({
      path: `${path}.expect.${word}`,
      message,
      remedy: 'write its part before it, as client:d7',
    })
  }
  return problems
}

/** Returns the problem of the first step that ends too late for a date: waits and intervals add up. */
function findTimeAfterYear9999({ start, steps = [] }: PolicyTest, path: string): readonly Problem[] {
  let endMs = start ?? DEFAULT_START_MS
  for (const [index, { send, wait = 0 }] of steps.entries()) {
    endMs += wait + ((send?.times ?? 1) - 1) * (send?.every ?? 0)
    if (endMs <= MAX_MOMENT_MS) continue
    const message = 'the step ends after the year 9999'
    return [{ path: `${path}.steps[${index}]`, message, remedy: 'shorten its wait, or times and every' }]
  }
  return []
}

function hasExpectation(expect: object | undefined): boolean {
  return expect !== undefined && Object.keys(expect).length > 0
}

function isWithoutTopic(on: string | undefined): boolean {
  return on === 'connect' || on === 'accept'
}

/** Returns the path and the key of each entry of an object. */
function keysIn(word: string, entries: object): readonly (readonly [string, string])[] {
  return Object.keys(entries).map(key => [`${word}[${JSON.stringify(key)}]`, key] as const)
}

function unknownName(path: string, name: string, noun: string, known: readonly string[]): readonly Problem[] {
  if (known.includes(name)) return []
  const near = nearest(name, known)
  const some = known.slice(0, 20).join(', ')
  const remedy = near !== undefined ? `did you mean ${near}?` : some === '' ? undefined : `use one of ${some}`
  return [{ path, message: `the policy decides by no ${noun} ${JSON.stringify(name)}`, remedy }]
}
