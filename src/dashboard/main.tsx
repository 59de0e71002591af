import { render } from 'preact'
import { App } from './app.tsx'
import { followEvents } from './state/live.ts'

followEvents()
render(<App />, document.getElementById('app')!)
