import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { runCommand } from '../fake-terminal.ts'

let folder: string
let file: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'topicgate-init-'))
  file = join(folder, 'policy.yaml')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

it('init --yes writes a policy that validates without a warning', async () => {
  expect((await runCommand(['init', '--yes', file])).exitCode).toBe(0)
  const { exitCode, out } = await runCommand(['validate', file])
  expect([exitCode, out]).toEqual([0, `ok ${file}: 3 rules, 0 exemptions\n`])
})

it('init asks three questions and writes what was answered', async () => {
  const { exitCode, err } = await runCommand(['init', file], {
    stdin: 'nats\nplant.{device}.>\n5/s burst 7\n',
  })
  expect([exitCode, err.split('?').length - 1]).toEqual([0, 3])
  const text = readFileSync(file, 'utf8')
  expect(text).toContain('dialect: nats')
  expect(text).toContain('topic: "plant.{device}.>"')
  expect(text).toContain('limit: 5/s burst 7')
  expect((await runCommand(['validate', file])).exitCode).toBe(0)
})

it('init never replaces a file unless --force says so', async () => {
  writeFileSync(file, 'mine')
  const { exitCode, err } = await runCommand(['init', '--yes', file])
  expect([exitCode, err]).toEqual([2, `error: ${file} exists (name another file, or add --force)\n`])
  expect(readFileSync(file, 'utf8')).toBe('mine')
  expect((await runCommand(['init', '--yes', '--force', file])).exitCode).toBe(0)
})

it('init writes nothing if an answer makes no policy', async () => {
  const { exitCode, err } = await runCommand(['init', '--yes', '--limit', '10 apples', file])
  expect(exitCode).toBe(1)
  expect(err).toContain('10 apples')
  expect(() => readFileSync(file)).toThrow('ENOENT')
})

it('init reports a file that it cannot write, with a remedy', async () => {
  writeFileSync(file, '')
  const below = join(file, 'below.yaml')
  const { exitCode, err } = await runCommand(['init', '--yes', below])
  expect(exitCode).toBe(1)
  expect(err).toMatch(/^error: .*below\.yaml: the policy cannot be written: E\w+ \(name another file\)\n$/)
})
