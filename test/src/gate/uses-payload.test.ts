import { describe, expect, it } from 'vitest'
import { exempt, Gate, limit, type Middleware } from '../../../src/index.ts'

const field = { payload: { field: 'kind', equals: 'alarm' } }
const NOTHING: Middleware = (_message, next) => next()

describe('a gate uses payloads', () => {
  it.each<readonly [string, Middleware]>([
    ['a cost read from a field', limit({ name: 'r', limit: '1/s', cost: { payload: 'units' } })],
    ['a cost of the application', limit({ name: 'r', limit: '1/s', cost: ({ size }) => size })],
    ['a condition', limit({ name: 'r', limit: '1/s', when: { any: [{ not: field }] } })],
    ['a condition of a maximum size', limit({ name: 'r', maxSize: '1kB', when: field })],
    ['a comparison with the last payload', limit({ name: 'r', unchanged: 'drop' })],
    ['a condition of an exemption', exempt({ when: field })],
    ['custom middleware', NOTHING],
  ])('for %s', (_name, middleware) => {
    expect(new Gate().use(middleware).usesPayload('publish')).toBe(true)
  })

  it.each<readonly [string, Middleware]>([
    ['costs in bytes and blocks', limit({ name: 'r', limit: '1/s', cost: { bytes: 'per 4KiB' } })],
    ['costs by topic', limit({ name: 'r', limit: '1/s', cost: { topics: { 'a/#': 2 } } })],
    ['conditions on other fields', limit({ name: 'r', limit: '1/s', when: { qos: 1, size: { max: 10 } } })],
    ['maximum sizes', limit({ name: 'r', maxSize: '1kB' })],
    ['exemptions of senders', exempt({ roles: ['admin'], limit: '1/s' })],
    ['rules for another action', limit({ name: 'r', limit: '1/s', on: 'deliver', when: field })],
  ])('not for %s', (_name, middleware) => {
    expect(new Gate().use(middleware).usesPayload('publish')).toBe(false)
  })
})
