import type { Aedes } from 'aedes'

/**
 * Restores V8's fast properties of an object. Why: replacing a value with an accessor switches the object to slow
 * dictionary properties, and aedes reads its broker many times a message (0.2 to 0.4 µs). V8 restores them when an
 * object is used as a prototype for a few lookups.
 */
export function restoreFastProperties(object: object): void {
  const lookUp = (derived: { closed?: unknown }): unknown => derived.closed
  for (let times = 0; times < 32; times++) lookUp(Object.create(object))
}

/** Single-slot hooks of aedes that can be composed. */
export type HookName =
  | 'preConnect'
  | 'authenticate'
  | 'authorizePublish'
  | 'authorizeSubscribe'
  | 'authorizeForward'

/** Application hook that a composed hook calls first. */
export interface ComposedHook<Name extends HookName> {
  /** The application's own hook. */
  readonly userHook: Aedes[Name]
  /** True if the application has assigned another hook, which may call this one: then only `userHook` is called. */
  isRetired: boolean
}

/** Creates a hook that calls the application's hook and then does its own part. */
export type CreateHook<Name extends HookName> = (composed: ComposedHook<Name>) => Aedes[Name]

/** A composed hook that can be rebuilt when the application assigns another. */
interface Composition<Name extends HookName> {
  readonly hook: Aedes[Name]
  setUserHook(assigned: Aedes[Name]): void
  /** Ends the composition; returns the application's own hook. */
  end(): Aedes[Name]
}

function compose<Name extends HookName>(
  broker: Aedes,
  name: Name,
  createHook: CreateHook<Name>,
): Composition<Name> {
  const composedOf = new WeakMap<Aedes[Name], ComposedHook<Name>>()
  let composed: ComposedHook<Name>
  let hook: Aedes[Name]
  const rebuild = (userHook: Aedes[Name]): void => {
    composed = { userHook, isRetired: false }
    hook = createHook(composed)
    composedOf.set(hook, composed)
  }
  rebuild(broker[name])
  return {
    get hook() {
      return hook
    },
    setUserHook: assigned => {
      if (assigned === hook) return
      composed.isRetired = true
      // A composed hook that was saved and is assigned again counts as the application's hook inside it.
      rebuild(composedOf.get(assigned)?.userHook ?? assigned)
    },
    end: () => {
      composed.isRetired = true
      return composed.userHook
    },
  }
}

/**
 * Composes a hook with the application's, set before or later, even if that does not call the one it replaces. The
 * property returns the composed hook and stores what is assigned. Returns a function that restores the application's
 * hook.
 */
export function composeHook<Name extends HookName>(
  broker: Aedes,
  name: Name,
  createHook: CreateHook<Name>,
): () => void {
  const composition = compose(broker, name, createHook)
  Object.defineProperty(broker, name, {
    configurable: true,
    enumerable: true,
    get: () => composition.hook,
    set: (assigned: Aedes[Name]) => composition.setUserHook(assigned),
  })
  return () => {
    const value = composition.end()
    Object.defineProperty(broker, name, { configurable: true, enumerable: true, writable: true, value })
  }
}

/** A composed hook in a plain property, which has to detect a new assignment by itself. */
export interface PropertyHook {
  /** Composes with a newly assigned hook; returns true if there was one. */
  recompose(): boolean
  /** Restores the application's hook. */
  detach(): void
}

/**
 * Composes a hook that runs for every message. Why: an accessor costs 5 % of a QoS 0 publish. The caller must call
 * `recompose` before it parses data of a client. A hook assigned meanwhile runs from the next chunk of each connection on.
 */
export function composeMessageHook<Name extends HookName>(
  broker: Aedes,
  name: Name,
  createHook: CreateHook<Name>,
): PropertyHook {
  const composition = compose(broker, name, createHook)
  let hook = composition.hook
  let isAttached = true
  broker[name] = hook
  const recompose = (): boolean => {
    if (broker[name] === hook || !isAttached) return false
    composition.setUserHook(broker[name])
    hook = composition.hook
    broker[name] = hook
    return true
  }
  return {
    recompose,
    detach: () => {
      recompose()
      isAttached = false
      broker[name] = composition.end()
    },
  }
}
