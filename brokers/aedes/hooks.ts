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
  const made = new WeakMap<Aedes[Name], Composed<Name>>()
  let composed: Composed<Name>
  let hook: Aedes[Name]
  const make = (users: Aedes[Name]): void => {
    composed = { users, retired: false }
    hook = compose(composed)
    made.set(hook, composed)
  }
  make(broker[name])
  Object.defineProperty(broker, name, {
    configurable: true,
    enumerable: true,
    get: () => hook,
    set: (given: Aedes[Name]) => {
      if (given === hook) return
      composed.retired = true
      // One of ours that was saved and is put back stands for what it was made with.
      make(made.get(given)?.users ?? given)
    },
  })
  return () => {
    composed.retired = true
    const value = composed.users
    Object.defineProperty(broker, name, { configurable: true, enumerable: true, writable: true, value })
  }
}
