import { useState } from 'preact/hooks'
import { signIn, signInError } from '../state/session.ts'

export function Login() {
  const [entered, setEntered] = useState('')
  const submit = (event: Event): void => {
    event.preventDefault()
    if (entered.trim() !== '') signIn(entered.trim())
  }
  return (
    <main class="login">
      <form class="panel" onSubmit={submit}>
        <h1>
          <img src="./favicon.svg" alt="" width="28" height="28" /> topicgate
        </h1>
        <label>
          Token
          <input
            type="password"
            autocomplete="off"
            spellcheck={false}
            autofocus
            required
            aria-describedby="token-help"
            value={entered}
            onInput={event => setEntered(event.currentTarget.value)}
          />
        </label>
        {signInError.value !== '' && (
          <p class="error-text" role="alert">
            {signInError.value}
          </p>
        )}
        <button type="submit" class="primary">
          Sign in
        </button>
        <p id="token-help" class="hint">
          Create one on the server: <code>topicgate token create NAME --role viewer</code>. It stays in this
          tab only.
        </p>
      </form>
    </main>
  )
}
