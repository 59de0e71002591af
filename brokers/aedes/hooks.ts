import type { Aedes } from 'aedes'

/**
 * Puts an object's properties back in the place where V8 finds them fast. An accessor that takes the place of a value
 * turns them into a table of hashes, and aedes looks at its broker many times a message: 0.2 to 0.4 µs. An object
 * that serves as a prototype is put right when a property is looked up through it a few times.
 */
export function makeFast(object: object): void {
  const look = (heir: { closed?: unknown }): unknown => heir.closed
  for (let times = 0; times < 32; times++) look(Object.create(object))
}

/** The single-slot hooks of aedes that are composed with. */
export type HookName =
  | 'preConnect'
  | 'authenticate'
  | 'authorizePublish'
  | 'authorizeSubscribe'
  | 'authorizeForward'

/** A hook of the application's, as it was composed with. */
export interface Composed<Name extends HookName> {
  /** The application's: to be asked first. */
  readonly users: Aedes[Name]
  /** Another has taken its place, and may have wrapped this one: then it is to be the application's and no more. */
  retired: boolean
}

/** Makes a hook that asks the application's and does its own part. */
export type Compose<Name extends HookName> = (composed: Composed<Name>) => Aedes[Name]

/** A hook of ours as it now stands, and what becomes of it when the application assigns another. */
interface Composition<Name extends HookName> {
  readonly hook: Aedes[Name]
  take(given: Aedes[Name]): void
  /** Ends it; returns the application's own. */
  end(): Aedes[Name]
}

function begin<Name extends HookName>(broker: Aedes, name: Name, compose: Compose<Name>): Composition<Name> {
  const made = new WeakMap<Aedes[Name], Composed<Name>>()
  let composed: Composed<Name>
  let hook: Aedes[Name]
  const make = (users: Aedes[Name]): void => {
    composed = { users, retired: false }
    hook = compose(composed)
    made.set(hook, composed)
  }
  make(broker[name])
  return {
    get hook() {
      return hook
    },
    take: given => {
      if (given === hook) return
      composed.retired = true
      // One of ours that was saved and is put back stands for what it was made with.
      make(made.get(given)?.users ?? given)
    },
    end: () => {
      composed.retired = true
      return composed.users
    },
  }
}

/**
 * Puts a hook of ours together with the application's, whether that was set before or is set later, and whether or
 * not it calls the one it has found: the property answers the composed hook and keeps what is assigned. The returned
 * function puts the application's back.
 */
export function composeHook<Name extends HookName>(
  broker: Aedes,
  name: Name,
  compose: Compose<Name>,
): () => void {
  const composition = begin(broker, name, compose)
  Object.defineProperty(broker, name, {
    configurable: true,
    enumerable: true,
    get: () => composition.hook,
    set: (given: Aedes[Name]) => composition.take(given),
  })
  return () => {
    const value = composition.end()
    Object.defineProperty(broker, name, { configurable: true, enumerable: true, writable: true, value })
  }
}

/** A hook that is a plain property, and has to look by itself whether it still stands there. */
export interface PlainHook {
  /** Whether the application had assigned another; it is composed with now. */
  renew(): boolean
  /** Puts the application's back. */
  detach(): void
}

/**
 * The same for a hook that is asked for each message: an accessor costs 5 % of all that aedes does for one of QoS 0.
 * Whoever composes it calls `renew` before anything of a client is parsed: a hook that is set meanwhile is asked first
 * from the next chunk of each connection on.
 */
export function composePlainHook<Name extends HookName>(
  broker: Aedes,
  name: Name,
  compose: Compose<Name>,
): PlainHook {
  const composition = begin(broker, name, compose)
  let hook = composition.hook
  let attached = true
  broker[name] = hook
  const renew = (): boolean => {
    if (broker[name] === hook || !attached) return false
    composition.take(broker[name])
    hook = composition.hook
    broker[name] = hook
    return true
  }
  return {
    renew,
    detach: () => {
      renew()
      attached = false
      broker[name] = composition.end()
    },
  }
}
