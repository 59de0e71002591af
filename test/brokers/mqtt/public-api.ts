import type { ReceivingClient } from '../../../brokers/mqtt/client-types.ts'

const isHidden = (key: PropertyKey): boolean => typeof key === 'string' && key.startsWith('_')

/** Returns a proxy of a client that hides all members that are not public. */
export function publicClient<C extends ReceivingClient>(client: C): C {
  return new Proxy(client, {
    get(target, key) {
      if (isHidden(key)) return undefined
      const value: unknown = Reflect.get(target, key, target)
      const isMethod = typeof value === 'function' && key !== 'handleMessage' && key !== 'constructor'
      return isMethod ? value.bind(target) : value
    },
    set: (target, key, value) => Reflect.set(target, key, value, target),
  })
}
