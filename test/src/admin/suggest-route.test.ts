import { afterEach, expect, it } from 'vitest'
import type { LimitSuggester } from '../../../src/admin/index.ts'
import { createSender } from '../../../src/index.ts'
import { until } from '../../support/wait.ts'
import { type AdminScene, openAdminScene } from './admin-scene.ts'

const PATH = '/api/v1/suggest?reason=limits'

let scene: AdminScene
afterEach(() => scene.close())

it('refuses viewers, and a program that suggests no limits, with the remedy', async () => {
  scene = await openAdminScene()
  expect((await scene.call('GET', PATH, { token: scene.tokens.viewer })).status).toBe(403)
  const { status, body } = await scene.call('GET', PATH, { token: scene.tokens.operator })
  expect([status, body]).toMatchObject([409, { detail: expect.stringContaining('POST /capture') }])
})

it('records for the given time, one suggestion at once', async () => {
  const given: unknown[] = []
  const texts: string[] = []
  const suggestLimits: LimitSuggester = async (lines, options) => {
    given.push(options)
    for await (const text of lines) texts.push(text)
    throw new Error('not reached in the answer')
  }
  scene = await openAdminScene({ server: { suggestLimits } })
  const { gate, clock } = scene
  const answering = scene.call('GET', `${PATH}&for=5s&topic=fleet/{site}/%23&per=site`)
  await until(() => given.length === 1)
  expect(given).toEqual([
    { topic: 'fleet/{site}/#', per: 'site', quantile: 99.9, dialect: 'mqtt', node: 'node-a' },
  ])
  expect((await scene.call('GET', PATH)).body).toMatchObject({
    status: 409,
    detail: 'limits are being suggested already',
  })
  for (const topic of ['fleet/a/t', 'other/a/t'])
    gate.checkSync({ topic, sender: createSender({ client: 'c' }), size: 1 })
  clock.advance(5_000)
  await answering
  expect(texts.join('').match(/"topic":"[^"]+"/g)).toEqual(['"topic":"fleet/a/t"'])
  const next = scene.call('GET', `${PATH}&for=1s`)
  await until(() => given.length === 2)
  clock.advance(1_000)
  expect((await next).status).toBe(500)
  expect((await scene.call('GET', `${PATH}&for=2h`)).body).toMatchObject({ status: 422 })
})
