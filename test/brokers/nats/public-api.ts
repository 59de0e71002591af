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

/** Returns a generation whose connections and messages hide all fields that are not public. */
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

/** Returns a proxy of a source of messages. Messages that its methods return hide their fields. */
function publicSource<T extends object>(source: T): T {
  return new Proxy(source, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target)
      if (typeof value !== 'function') return value
      return (...args: unknown[]) => hideFields(value.apply(target, args.map(withCallback)))
    },
  })
}

function hideFields(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || value instanceof Uint8Array) return value
  if (value instanceof Promise) return value.then(hideFields)
  if ('subject' in value && 'data' in value) return publicMessage(value as NatsMessage)
  if ('done' in value && 'value' in value) return { done: value.done, value: hideFields(value.value) }
  const isSource = ['next', 'consume', 'fetch', 'subscribe', 'drain', 'close'].some(name => name in value)
  return isSource || Symbol.asyncIterator in value ? publicSource(value) : value
}

function withCallback(argument: unknown): unknown {
  const { callback } = Object(argument) as { callback?: (...args: unknown[]) => void }
  if (typeof callback !== 'function') return argument
  return { ...(argument as object), callback: (...args: unknown[]) => callback(...args.map(hideFields)) }
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

/** Both generations, each with all its fields and with its public API only. */
export const CLIENTS: readonly Generation[] = [...GENERATIONS, ...GENERATIONS.map(publicOnly)]
