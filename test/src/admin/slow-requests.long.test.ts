import { connect } from 'node:net'
import { afterEach, expect, it } from 'vitest'
import { type AdminScene, openAdminScene } from './admin-scene.ts'

let scene: AdminScene
afterEach(() => scene?.close())

/** Sends the begin of a request and never its end. Returns what comes back until the server closes the connection. */
function sendSlowly(url: string, begin: string): Promise<string> {
  const { port } = new URL(url)
  return new Promise((resolve, reject) => {
    let text = ''
    const socket = connect(Number(port), '127.0.0.1', () => socket.write(begin))
    socket.on('data', chunk => {
      text += chunk.toString()
    })
    socket.on('close', () => resolve(text))
    socket.on('error', reject)
  })
}

it('requests whose headers or body do not end are ended with status 408', async () => {
  scene = await openAdminScene()
  const head = `PUT /api/v1/bans/client:a HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer ${scene.tokens.admin}\r\n`
  const answers = await Promise.all([
    sendSlowly(scene.url, head),
    sendSlowly(scene.url, `${head}content-type: application/json\r\ncontent-length: 100\r\n\r\n{"reason":`),
  ])
  expect(answers[0]).toContain('408')
  expect(answers[1]).toMatch(/408|^$/)
  expect(scene.gate.bans.size).toBe(0)
})
