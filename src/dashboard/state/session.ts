import { signal } from '@preact/signals'

const STORAGE_KEY = 'topicgate-token'

/** Token of this tab; empty on servers that need none. */
export const token = signal(readToken())

/** False while a token has to be entered. */
export const isSignedIn = signal(true)

/** Why the last token was refused; empty at first. */
export const signInError = signal('')

export function signIn(entered: string): void {
  sessionStorage.setItem(STORAGE_KEY, entered)
  token.value = entered
  isSignedIn.value = true
}

export function signOut(reason = ''): void {
  sessionStorage.removeItem(STORAGE_KEY)
  token.value = ''
  signInError.value = reason
  isSignedIn.value = false
}

/** Reads the token of a link `#token=tg_…`, which is removed from the address, or of this tab. */
function readToken(): string {
  const linked = /^#token=(tg_[\w.-]+)$/.exec(location.hash)?.[1]
  if (linked !== undefined) {
    sessionStorage.setItem(STORAGE_KEY, linked)
    history.replaceState(null, '', location.pathname)
  }
  return sessionStorage.getItem(STORAGE_KEY) ?? ''
}
