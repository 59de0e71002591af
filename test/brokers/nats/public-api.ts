import type { NatsMessage } from '../../../brokers/nats/index.ts'
import { GENERATIONS, type Generation, type TestConnection } from './client-versions.ts'

/** Fields of both generations that are not public. */
const HIDDEN: ReadonlySet<PropertyKey> = new Set([
  'msg',
  '_msg',
  '_rdata',
  '_subject',
  '_reply',
  '_headers',
  'publisher',
  'didAck',
])

/** A client of which limiters see no more than its public API. */
function publicOnly(generation: Generation): Generation {
  const real = new WeakMap<object, TestConnection>()
  return {
    ...generation,
    name: `only the public API of ${generation.name}`,
    async connect(url, options) {
      const connection = await generation.connect(url, options)
      const seen = publicSource(connection)
      real.set(seen, connection)
      return seen
    },
    jetstream: async nc => publicSource(await generation.jetstream(real.get(nc) ?? nc)),
  }
}

/** Shows what gives messages, and all that its methods return, with messages that hide their fields. */
function publicSource<T extends object>(source: T): T {
  return new Proxy(source, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => shown(value.apply(target, args.map(withCallback)))
    },
  })
}

function shown(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  if (value instanceof Promise) return value.then(shown)
  if ('subject' in value && 'data' in value) return publicMessage(value as NatsMessage)
  if ('done' in value && 'value' in value) return { done: value.done, value: shown(value.value) }
  const gives = ['next', 'consume', 'fetch', 'subscribe', 'drain', 'close'].some(name => name in value)
  return gives || Symbol.asyncIterator in value ? publicSource(value) : value
}

function withCallback(argument: unknown): unknown {
  const { callback } = Object(argument) as { callback?: (...args: unknown[]) => void }
  if (typeof callback !== 'function') return argument
  return { ...(argument as object), callback: (...args: unknown[]) => callback(...args.map(shown)) }
}

function publicMessage<M extends NatsMessage>(message: M): M {
  return new Proxy(message, {
    get(target, key) {
      if (HIDDEN.has(key)) return undefined
      const value: unknown = Reflect.get(target, key, target)
      return typeof value === 'function' ? value.bind(target) : value
    },
    has: (target, key) => !HIDDEN.has(key) && Reflect.has(target, key),
    set: (target, key, value) => HIDDEN.has(key) || Reflect.set(target, key, value, target),
  })
}

/** Both generations, each with all its fields and with no more than its public API. */
export const CLIENTS: readonly Generation[] = [...GENERATIONS, ...GENERATIONS.map(publicOnly)]
