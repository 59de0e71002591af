import type { Aedes } from 'aedes'

/** The single-slot hooks of aedes that are composed with. */
export type HookName =
  | 'preConnect'
  | 'authenticate'
  | 'authorizePublish'
  | 'authorizeSubscribe'
  | 'authorizeForward'

/** A composed hook: asks `users()`, the hook the application set last, and does its own part. */
export type Compose<Name extends HookName> = (users: () => Aedes[Name]) => Aedes[Name]

/**
 * Puts a hook of ours together with the application's, whether that was set before or is set later: the property
 * answers the composed hook and keeps what is assigned. The returned function puts the application's back.
 */
export function composeHook<Name extends HookName>(
  broker: Aedes,
  name: Name,
  compose: Compose<Name>,
): () => void {
  let users = broker[name]
  const composed = compose(() => users)
  Object.defineProperty(broker, name, {
    configurable: true,
    enumerable: true,
    get: () => composed,
    set: (hook: Aedes[Name]) => {
      // Whoever saves the hook and puts it back must not make it call itself.
      if (hook !== composed) users = hook
    },
  })
  return () => {
    const value = users
    Object.defineProperty(broker, name, { configurable: true, enumerable: true, writable: true, value })
  }
}
