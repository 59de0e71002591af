import type { ConditionSpec } from '../conditions/condition.ts'
import { isSecretHeader } from '../conditions/secret-text.ts'
import type { Dialect, Operation } from '../core/message.ts'

export type Warn = (path: string, message: string, remedy: string) => void

/** Warns about conditions that no message of these actions meets, and about secrets that are not marked as such. */
export function warnOfCondition(
  when: ConditionSpec | undefined,
  actions: readonly Operation[],
  dialect: Dialect,
  path: string,
  warn: Warn,
): void {
  if (when === undefined) return
  warnOfSecretHeaders(when, path, warn)
  const isPublished = actions.length === 0 || actions.includes('publish')
  if (when.will === true && (dialect === 'nats' || !isPublished)) {
    const message = dialect === 'nats' ? 'NATS has no wills' : 'a will is always published'
    warn(`${path}.will`, `never holds: ${message}`, 'remove it, or use on: publish and dialect: mqtt')
  }
  if (actions.length !== 1 || actions[0] !== 'connect') return
  for (const word of ['payload', 'size', 'qos', 'retain'] as const) {
    if (when[word] !== undefined)
      warn(`${path}.${word}`, 'a connect has no payload, size, QoS or retain flag', `remove \`${word}\``)
  }
}

/** Warns about secrets that are protected only because of the name of their header. */
function warnOfSecretHeaders({ header, all, any, not }: ConditionSpec, path: string, warn: Warn): void {
  if (header !== undefined && isSecretHeader(header.name)) {
    for (const word of ['equals', 'in'] as const) {
      if (header[word] === undefined) continue
      const message = `${JSON.stringify(header.name)} seems to carry a secret, which only its name protects`
      const remedy =
        word === 'equals' ? 'write `secret` for `equals`' : 'write `any` with a header and its `secret` each'
      warn(`${path}.header.${word}`, message, remedy)
    }
  }
  for (const [index, each] of (all ?? []).entries()) warnOfSecretHeaders(each, `${path}.all[${index}]`, warn)
  for (const [index, each] of (any ?? []).entries()) warnOfSecretHeaders(each, `${path}.any[${index}]`, warn)
  if (not !== undefined) warnOfSecretHeaders(not, `${path}.not`, warn)
}
