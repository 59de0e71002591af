import type { Problem } from '../core/errors.ts'
import type { Condition } from './condition.ts'
import { quote } from './parse-helpers.ts'

/** Compiles `qos`: one value or a list of alternatives. A message without a QoS matches none. */
export function compileQos(value: unknown, path: string, problems: Problem[]): Condition | undefined {
  const remedy = 'write 0, 1 or 2, or a list of them'
  const list: readonly unknown[] = Array.isArray(value) ? value : [value]
  if (list.length === 0) problems.push({ path, message: 'an empty list matches nothing', remedy })
  let levels = 0
  let wrong = list.length === 0
  list.forEach((level, index) => {
    if (level === 0 || level === 1 || level === 2) levels |= 1 << level
    else {
      wrong = true
      const valuePath = Array.isArray(value) ? `${path}[${index}]` : path
      problems.push({ path: valuePath, message: `${quote(level)} is not a QoS`, remedy })
    }
  })
  if (wrong) return undefined
  return ({ qos }) => (qos === 0 || qos === 1 || qos === 2) && ((levels >> qos) & 1) === 1
}

/** Compiles `retain` and `will`. A missing property counts as `false`. */
export function compileFlagCondition(
  name: 'retain' | 'will',
): (value: unknown, path: string, problems: Problem[]) => Condition | undefined {
  return (value, path, problems) => {
    if (typeof value === 'boolean') return message => (message[name] === true) === value
    problems.push({
      path,
      message: `${quote(value)} is neither true nor false`,
      remedy: 'write true or false',
    })
    return undefined
  }
}

/** Compiles `protocol`. A message without a protocol matches none. */
export function compileProtocol(value: unknown, path: string, problems: Problem[]): Condition | undefined {
  if (value === 'mqtt' || value === 'nats') return message => message.protocol === value
  problems.push({ path, message: `${quote(value)} is not a protocol`, remedy: 'write mqtt or nats' })
  return undefined
}
