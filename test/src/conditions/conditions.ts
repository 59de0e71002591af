import { compileCondition } from '../../../src/conditions/compile.ts'
import type { ConditionSpec } from '../../../src/conditions/condition.ts'
import { PolicyError, type Problem } from '../../../src/core/errors.ts'
import type { Message } from '../../../src/core/message.ts'

export function messageWith(parts: Partial<Message> = {}): Message {
  return { topic: 'fleet/a/d1', on: 'publish', sender: { client: 'd1' }, size: 100, ...parts }
}

export function holds(spec: ConditionSpec, message: Partial<Message> = {}, nowMs = 0): boolean {
  return compileCondition(spec)(messageWith(message), nowMs)
}

/** Whether a condition holds of a payload. */
export function holdsOf(payload: unknown, test: ConditionSpec['payload']): boolean {
  return holds({ payload: test! }, { payload: () => payload })
}

/** All problems of what an operator could write by mistake; none is a failure of the test. */
export function problemsOf(spec: unknown, path?: string): readonly Problem[] {
  try {
    compileCondition(spec as ConditionSpec, path)
  } catch (error) {
    if (error instanceof PolicyError) return error.problems
    throw error
  }
  throw new Error('nothing was refused')
}

export function pathsOf(spec: unknown, path?: string): readonly (string | undefined)[] {
  return problemsOf(spec, path).map(problem => problem.path)
}
